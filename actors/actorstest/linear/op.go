package linear

import (
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// Verb is what a client asked for.
type Verb string

// The verbs. A rename is two, each of one name: Leave of the old and Arrive at the
// new one. Lost is no client's: machines may have lost their VM then, because
// the engine was killed. Repeat is a request that was answered before, sent
// again. The engine remembers those that changed something; Walk finds one that
// did so twice. One that had nothing to do is a new one, to the engine.
const (
	Create  Verb = "create"
	Start   Verb = "start"
	Stop    Verb = "stop"
	Restart Verb = "restart"
	Remove  Verb = "rm"
	Force   Verb = "rm -f"
	Leave   Verb = "rename from"
	Arrive  Verb = "rename to"
	Inspect Verb = "inspect"
	List    Verb = "list"
	Lost    Verb = "lost"
	Repeat  Verb = "repeat"
)

// How a command ended.
const (
	Done    = "done"
	Refused = "refused"
	Unknown = "unknown" // the connection was cut: it may have happened
	Mute    = "mute"    // no answer, the connection whole: a fault
)

// Seen is a machine as an answer showed it.
type Seen struct {
	Name   string `json:"name,omitempty"`
	ID     string `json:"id,omitempty"`
	State  string `json:"state,omitempty"`
	Launch string `json:"launch,omitempty"`
	CID    uint32 `json:"cid,omitempty"`
}

// Op is one command of one client, and what came of it. Times are of one
// monotonic clock for all clients.
type Op struct {
	Client  int    `json:"client"`
	Verb    Verb   `json:"verb"`
	Of      Verb   `json:"of,omitempty"` // what a Repeat repeats
	Name    string `json:"name,omitempty"`
	Request string `json:"request,omitempty"`
	Call    int64  `json:"call"`
	Return  int64  `json:"return"`

	Outcome  string    `json:"outcome"`
	Tries    int       `json:"tries,omitempty"` // how often it was sent
	Code     wire.Code `json:"code,omitempty"`  // of a refusal
	Text     string    `json:"text,omitempty"`  // of a refusal or an error
	Repeated bool      `json:"repeated,omitempty"`
	Seen     Seen      `json:"seen,omitzero"`
	List     []Seen    `json:"list,omitempty"`
}

// String is the op as a person reads it.
func (o *Op) String() string {
	what := fmt.Sprintf("%s %s: %s", o.Verb, o.Name, o.Outcome)
	if o.Verb == Repeat {
		what = fmt.Sprintf("%s of %s", o.Verb, strings.Replace(what, string(o.Verb), string(o.Of), 1))
	}
	if o.Outcome == Refused {
		what += fmt.Sprintf(" %s", strings.TrimPrefix(o.Code.String(), "CODE_"))
	}
	if o.Seen.State != "" {
		what += " " + o.Seen.State
	}
	if o.Seen.ID != "" {
		what += " " + tail(o.Seen.ID)
	}
	if live(o.Seen.State) {
		what += fmt.Sprintf(" launch %s cid %d", tail(o.Seen.Launch), o.Seen.CID)
	}
	if o.Tries > 1 {
		what += fmt.Sprintf(" (sent %d times)", o.Tries)
	}
	if o.Text != "" {
		what += ": " + o.Text
	}
	return what
}

// elsewhere: it was carried out at an earlier try, and its machine was renamed since.
func (o *Op) elsewhere() bool {
	return (o.Repeated || o.Tries > 1) && o.Seen.Name != "" && key(o.Seen.Name) != key(o.Name)
}

func tail(id string) string { return id[max(0, len(id)-6):] }

// key is what names are compared by.
func key(name string) string { return strings.ToLower(name) }

func live(state string) bool { return state == starting || state == running || state == stopping }

// see takes what an answer shows of a machine.
func see(m *wire.Machine) Seen {
	if m == nil {
		return Seen{}
	}
	return Seen{Name: m.GetName(), ID: m.GetId(), State: m.GetState(), Launch: m.GetLaunch(), CID: m.GetCid()}
}
