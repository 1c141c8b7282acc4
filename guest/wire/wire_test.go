package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// duplex reads from one buffer and writes to another.
type duplex struct {
	io.Reader
	io.Writer
}

func TestPreface(t *testing.T) {
	token := bytes.Repeat([]byte{7}, TokenSize)
	wrong := bytes.Clone(token)
	wrong[TokenSize-1]++
	for _, test := range []struct {
		name  string
		shown []byte
		want  error
	}{
		{"right", token, nil},
		{"wrong in the last byte", wrong, ErrRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			checked := make(chan error, 1)
			go func() {
				defer server.Close()
				checked <- CheckPreface(server, token)
			}()
			err := SendPreface(client, test.shown)
			if got := <-checked; !errors.Is(got, test.want) {
				t.Errorf("agent: %v, want %v", got, test.want)
			}
			if (err == nil) != (test.want == nil) {
				t.Errorf("client: %v", err)
			}
		})
	}
}

func TestSendPrefaceNeedsAWholeToken(t *testing.T) {
	var sent bytes.Buffer
	err := SendPreface(duplex{strings.NewReader(""), &sent}, []byte("short"))
	if err == nil || sent.Len() != 0 {
		t.Errorf("err %v, %d bytes sent", err, sent.Len())
	}
}

func TestSendPrefaceRefused(t *testing.T) {
	token := make([]byte, TokenSize)
	for answer, want := range map[string]error{"\x00": ErrRefused, "\x02": ErrRefused, "": io.EOF} {
		if err := SendPreface(duplex{strings.NewReader(answer), io.Discard}, token); !errors.Is(err, want) {
			t.Errorf("answer %q: %v, want %v", answer, err, want)
		}
	}
}

func FuzzCheckPreface(f *testing.F) {
	token := bytes.Repeat([]byte{'t'}, TokenSize)
	good := append([]byte(Magic), token...)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then some more bytes"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		err := CheckPreface(duplex{bytes.NewReader(in), &out}, token)
		if right := bytes.HasPrefix(in, good); right != (err == nil) {
			t.Fatalf("err %v, right %v", err, right)
		}
		if (out.Len() > 0) != (err == nil) {
			t.Fatalf("answered %q, err %v", out.Bytes(), err)
		}
	})
}
