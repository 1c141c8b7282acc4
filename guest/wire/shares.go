package wire

// SharesSecret is the name of the launch's file that tells the agent of the shares:
// a list of Share, as JSON.
const SharesSecret = "shares"

// Share is a directory of the host, by its tag, and where it goes.
type Share struct {
	Tag      string `json:"tag"`
	On       string `json:"on"` // absolute
	Writable bool   `json:"writable,omitempty"`
}
