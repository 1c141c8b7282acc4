package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCapped(t *testing.T) {
	var out strings.Builder
	c := Capped(&out, 10)
	for range 100 {
		if n, err := c.Write([]byte("1234")); n != 4 || err != nil {
			t.Fatal(n, err)
		}
	}
	if out.String() != "1234123412\n(what follows was dropped)\n" {
		t.Errorf("%q", out.String())
	}
}

func TestScrubEnv(t *testing.T) {
	got := ScrubEnv([]string{"PATH=/bin", "HOME=/root", "LD_PRELOAD=x", "TMPDIR=/t", "PATHX=1", "PATH"})
	if diff := cmp.Diff([]string{"PATH=/bin", "TMPDIR=/t", "PATH"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSeal(t *testing.T) {
	sealed, err := Seal([]byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	line, err := Unseal(bytes.NewReader(sealed))
	if err != nil || string(line) != `{"a":1}` {
		t.Errorf("%q, %v", line, err)
	}
	for n := range len(sealed) {
		if _, err := Unseal(bytes.NewReader(sealed[:n])); err == nil {
			t.Errorf("cut short after %d bytes, and taken", n)
		}
	}
	changed := slices.Clone(sealed)
	changed[2] = 'b'
	for _, bad := range [][]byte{append(slices.Clone(sealed), 'x'), changed, make([]byte, MaxInput+1)} {
		if _, err := Input(bytes.NewReader(bad), func(r io.Reader) ([]byte, error) { return Unseal(r) }); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
	if _, err := Seal(make([]byte, MaxInput)); err == nil {
		t.Error("too much is sealed")
	}
}

func TestAccept(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = errors.Join(a.Close(), b.Close()) }()
	answers := []error{nil, unix.EMFILE, unix.ECONNABORTED, nil, fmt.Errorf("accept: %w", net.ErrClosed)}
	taken := 0
	Accept(func() (net.Conn, error) {
		err := answers[0]
		answers = answers[1:]
		return a, err
	}, func(c net.Conn) {
		if c == a {
			taken++
		}
	})
	if taken != 2 || len(answers) != 0 {
		t.Errorf("%d connections were taken, %d answers are left", taken, len(answers))
	}
}
