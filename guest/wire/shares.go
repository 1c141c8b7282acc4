package wire

// SharesSecret is the name of the launch's file that tells the agent of the shares:
// a list of Share, as JSON.
const SharesSecret = "shares"

// RosettaOn is where Rosetta goes.
const RosettaOn = "/run/arcbox/rosetta"

// Share is a directory of the host, by its tag, and where it goes.
type Share struct {
	Tag      string `json:"tag"`
	On       string `json:"on"` // absolute
	Writable bool   `json:"writable,omitempty"`
	Rosetta  bool   `json:"rosetta,omitempty"` // it is Apple's, whose program runs those of x86-64
}
