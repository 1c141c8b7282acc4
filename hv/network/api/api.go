package api

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv/network/egress"
	"github.com/arcboxlabs/arcbox-engine/hv/process"
)

// MaxLine is the longest line, in bytes. A machine with all that it may have fits,
// also where JSON writes each byte of its paths as six.
const MaxLine = 256 << 10

// MaxForwards is how many forwards a machine has at most, beside the automatic ones.
const MaxForwards = 64

// Config is what a network process gets on its standard input.
type Config struct {
	Version int    `json:"version"` // 1
	Dir     string `json:"dir"`     // of its lock
	RunDir  string `json:"run_dir"` // of its socket
}

// Machine is one that belongs to the network.
type Machine struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	MAC      string    `json:"mac"`
	Address  string    `json:"address"`
	Egress   string    `json:"egress,omitempty"`
	Link     string    `json:"link"` // path of the socket where its hypervisor takes frames
	Host     string    `json:"host"` // run directory of its VM host
	Forwards []Forward `json:"forwards,omitempty"`
	// AutoPorts: what the guest listens at has forwards, too.
	AutoPorts bool `json:"auto_ports,omitempty"`
}

// Forward is a socket of the host that leads to one of the machine's guest.
type Forward struct {
	Protocol string `json:"protocol"`       // tcp, udp, unix
	Listen   string `json:"listen"`         // address and port, or path, of the host
	To       string `json:"to"`             // port, or path, of the guest; of an automatic one also address and port
	In       bool   `json:"in,omitempty"`   // the guest's socket leads to the host's, instead; of unix only
	Auto     bool   `json:"auto,omitempty"` // it is there because the guest listens; no engine sets it
}

// State is how a machine's network does.
type State struct {
	ID       string         `json:"id"`
	Linked   bool           `json:"linked"` // its hypervisor is connected
	Forwards []ForwardState `json:"forwards,omitempty"`
	Denied   uint64         `json:"denied,omitempty"`
	Denials  []string       `json:"denials,omitempty"` // the first
	Egress   string         `json:"egress,omitempty"`  // the policy in force, "allow" too; "" = who says this is too old to tell
	// AutoTrouble is why not all that the guest listens at has a forward.
	AutoTrouble string `json:"auto_trouble,omitempty"`
}

// ForwardState is how one forward does.
type ForwardState struct {
	Forward
	Error string `json:"error,omitempty"` // why it does not listen; "" = it does
}

// Hello says who answers.
type Hello struct {
	Version string    `json:"version"` // of arcbox-netd
	Started time.Time `json:"started"`
}

// Refused says that a machine's set makes no sense.
type Refused struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// Line is one line of a session. One of the fields is set.
type Line struct {
	Hello   *Hello   `json:"hello,omitempty"`
	State   *State   `json:"state,omitempty"`
	Refused *Refused `json:"refused,omitempty"`
	Set     *Machine `json:"set,omitempty"`
	Drop    string   `json:"drop,omitempty"`
	All     bool     `json:"all,omitempty"`
}

// ErrTooLong marks a line of more than MaxLine bytes.
var ErrTooLong = fmt.Errorf("line is longer than %d bytes", MaxLine)

// Write writes one line.
func Write(w io.Writer, l Line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if len(b) >= MaxLine {
		return ErrTooLong
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Lines reads the lines of a session.
type Lines struct{ s *bufio.Scanner }

// NewLines reads from r.
func NewLines(r io.Reader) *Lines {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), MaxLine)
	return &Lines{s}
}

// Next is the next line; io.EOF at the end.
func (l *Lines) Next() (line Line, err error) {
	if !l.s.Scan() {
		switch err := l.s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return line, ErrTooLong
		case err != nil:
			return line, err
		}
		return line, io.EOF
	}
	if err := json.Unmarshal(l.s.Bytes(), &line); err != nil {
		return Line{}, fmt.Errorf("line: %w", err)
	}
	return line, nil
}

// Checked is a machine whose every field makes sense.
type Checked struct {
	MAC    net.HardwareAddr
	Addr   netip.Addr
	Egress egress.Policy
	Policy string // the same in words, never ""
}

// Check refuses a machine that makes no sense.
func (m Machine) Check() (c Checked, err error) {
	if m.ID == "" || m.Name == "" {
		return c, errors.New("machine: no id or no name")
	}
	if c.MAC, err = net.ParseMAC(m.MAC); err != nil {
		return c, fmt.Errorf("machine %s: %w", m.ID, err)
	}
	if c.Addr, err = netip.ParseAddr(m.Address); err != nil {
		return c, fmt.Errorf("machine %s: %w", m.ID, err)
	}
	if c.Egress, err = egress.Parse(m.Egress); err != nil {
		return c, fmt.Errorf("machine %s: egress %w", m.ID, err)
	}
	c.Policy = cmp.Or(m.Egress, egress.Allow)
	for _, path := range []string{m.Link, m.Host} {
		if !filepath.IsAbs(path) {
			return c, fmt.Errorf("machine %s: %q is not an absolute path", m.ID, path)
		}
	}
	if len(m.Forwards) > MaxForwards {
		return c, fmt.Errorf("machine %s: %d forwards, at most %d", m.ID, len(m.Forwards), MaxForwards)
	}
	for _, f := range m.Forwards {
		if f.Auto {
			return c, fmt.Errorf("machine %s: forward %q is automatic: those are the guest's to make", m.ID, f.Listen)
		}
		if f.In && f.Protocol != "unix" {
			return c, fmt.Errorf("machine %s: forward %q: only a socket leads from the guest to the host", m.ID, f.Listen)
		}
	}
	return c, nil
}

// EncodeConfig makes what a network process gets on its standard input.
func EncodeConfig(c Config) ([]byte, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return process.Seal(line)
}

// DecodeConfig reads what EncodeConfig made.
func DecodeConfig(r io.Reader) (c Config, err error) {
	line, err := process.Unseal(r)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if c.Version != 1 || !filepath.IsAbs(c.Dir) || !filepath.IsAbs(c.RunDir) {
		return c, fmt.Errorf("configuration: version %d, dir %q, run_dir %q: version 1 and absolute paths are wanted", c.Version, c.Dir, c.RunDir)
	}
	return c, nil
}
