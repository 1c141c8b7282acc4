//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors/actorstest/linear"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// The test binary plays the clients' processes: the variable is a number and a
// socket.
const playerVar = "ARCBOX_LINEAR_PLAYER"

func TestMain(m *testing.M) {
	if who := os.Getenv(playerVar); who != "" {
		if err := playClient(who, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// part is what a player is told to do in one history.
type part struct {
	Seed     uint64   `json:"seed"`
	Names    []string `json:"names"`
	Commands int      `json:"commands"`
}

// playClient is a client's process: for each part that it reads it writes what
// it did, a line each, and an empty line.
func playClient(who string, in io.Reader, out io.Writer) error {
	number, socket, _ := strings.Cut(who, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	say := json.NewEncoder(out)
	parts := json.NewDecoder(in)
	for {
		var p part
		if err := parts.Decode(&p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var failed error
		c := newPlayer(n, socket, p, func(o linear.Op) {
			if err := say.Encode(o); err != nil {
				failed = err
			}
		})
		c.Run(context.Background(), p.Commands)
		if failed != nil {
			return failed
		}
		if _, err := io.WriteString(out, "\n"); err != nil {
			return err
		}
	}
}

// player is such a process, from outside.
type player struct {
	h   *histories
	say *json.Encoder
	out *bufio.Scanner
}

func (h *histories) startPlayer(n int) *player {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", playerVar, n, h.socket()))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = in.Close() // its end
		overdue := time.AfterFunc(linearWait, func() { _ = cmd.Process.Kill() })
		defer overdue.Stop()
		if err := cmd.Wait(); err != nil {
			h.t.Errorf("client %d: %v", n, err)
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 8<<20)
	return &player{h, json.NewEncoder(in), lines}
}

// play has the process play its part.
func (p *player) play(what part) {
	if err := p.say.Encode(what); err != nil {
		p.h.t.Errorf("a client's process: %v", err)
		return
	}
	for p.out.Scan() {
		if len(p.out.Bytes()) == 0 {
			return
		}
		var o linear.Op
		if err := json.Unmarshal(p.out.Bytes(), &o); err != nil {
			p.h.t.Errorf("a client's process: %v", err)
			return
		}
		p.h.note(o)
	}
	p.h.t.Errorf("a client's process ended: %v", p.out.Err())
}

// typist types commands, each a process of its own.
type typist struct {
	*bed
	n     int
	dice  *rand.Rand
	names []string
	note  func(linear.Op)
}

// typed is how each verb is typed, and how often.
var typed = []struct {
	verb  linear.Verb
	words string
	n     int
}{
	{linear.Create, "create NAME --backend sim --script " + linearScript + " --cpus 1 --memory 128", 4},
	{linear.Start, "start NAME", 4},
	{linear.Stop, "stop NAME --timeout 5s", 1},
	{linear.Stop, "stop NAME --kill", 1},
	{linear.Restart, "restart NAME --kill", 2},
	{linear.Remove, "rm NAME", 1},
	{linear.Force, "rm -f NAME", 2},
	{linear.Inspect, "inspect NAME", 2},
	{linear.List, "list", 2},
}

func (y *typist) run(many int) {
	sum := 0
	for _, w := range typed {
		sum += w.n
	}
	for range many {
		at := y.dice.IntN(sum)
		for _, w := range typed {
			if at -= w.n; at < 0 {
				y.do(w.verb, w.words)
				break
			}
		}
	}
}

// do types one command. The program sends it again where its connection is
// lost, so that it counts as sent twice.
func (y *typist) do(v linear.Verb, words string) {
	o := linear.Op{Client: y.n, Verb: v, Name: y.names[y.dice.IntN(len(y.names))], Tries: 2, Outcome: linear.Unknown}
	args := strings.Fields(strings.Replace(words, "NAME", o.Name, 1))
	if v == linear.List {
		o.Name = ""
	}
	o.Call = monotonic()
	r := y.bed.run(append(args, "--no-autostart", "--format", "json")...)
	o.Return = monotonic()
	if err := readAnswer(&o, r); err != nil {
		y.t.Errorf("arcbox %v: exit %d: %v: %s%s", args, r.code, err, r.out, r.err)
	}
	y.note(o)
	if o.Outcome == linear.Unknown {
		y.reach()
	}
}

// reach waits until an engine listens again.
func (y *typist) reach() {
	y.eventually("an engine listens", linearWait, func() bool {
		c, err := net.DialTimeout("unix", y.socket(), time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

// answer is what the program prints, of whatever command.
type answer struct {
	machineView
	Repeated bool         `json:"repeated"`
	Machine  *machineView `json:"machine"`
	Error    struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		State   string `json:"state"`
	} `json:"error"`
}

// readAnswer reads what a command printed. Whatever may be the program's own
// trouble, and no word of the engine, is no answer.
func readAnswer(o *linear.Op, r result) error {
	if r.code != 0 {
		return readRefusal(o, r)
	}
	o.Outcome = linear.Done
	if o.Verb == linear.List {
		var all []machineView
		err := json.Unmarshal([]byte(r.out), &all)
		for _, m := range all {
			o.List = append(o.List, seen(m))
		}
		return err
	}
	var a answer
	if err := json.Unmarshal([]byte(r.out), &a); err != nil {
		return err
	}
	o.Repeated = a.Repeated
	switch {
	case o.Verb == linear.Inspect:
		o.Seen = seen(a.machineView)
	case a.Machine != nil:
		o.Seen = seen(*a.Machine)
	}
	return nil
}

func readRefusal(o *linear.Op, r result) error {
	var a answer
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &a); err != nil {
		return err
	}
	code := wire.Code(wire.Code_value["CODE_"+strings.ReplaceAll(strings.ToUpper(a.Error.Code), "-", "_")])
	o.Text = a.Error.Message
	if code == wire.Code_CODE_UNAVAILABLE || code == wire.Code_CODE_FAILED && a.Error.State == "" {
		return nil
	}
	o.Outcome, o.Code, o.Seen.State = linear.Refused, code, a.Error.State
	return nil
}

func seen(m machineView) linear.Seen {
	return linear.Seen{Name: m.Name, ID: m.ID, State: m.State, Launch: m.Launch, CID: m.CID}
}
