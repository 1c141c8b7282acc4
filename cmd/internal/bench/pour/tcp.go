//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// What whoever connects to the TCP port asks for: a letter, then a number of
// bytes (8 bytes, big endian).
const (
	askPour = 'p' // give so many
	askSink = 's' // take so many, and then give one
)

// serveTCP pours to whoever connects, or takes what they send.
func serveTCP(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serve(l, answer)
}

// answer serves one question after the other, and tells why it ended.
func answer(c net.Conn) error {
	for {
		var q [9]byte
		if _, err := io.ReadFull(c, q[:]); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint64(q[1:]))
		switch q[0] {
		case askPour:
			if err := pour(c, n); err != nil {
				return err
			}
		case askSink:
			if _, err := io.CopyN(io.Discard, c, n); err != nil {
				return err
			}
			if _, err := c.Write(q[:1]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("question %q is not known", q[0])
		}
	}
}

// fetch reads n bytes from another guest's port, and prints the nanoseconds that
// it took.
func fetch(addr string, n int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	begun := time.Now()
	if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{askPour}, uint64(n))); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, bufio.NewReaderSize(c, size), n); err != nil {
		return err
	}
	fmt.Println(time.Since(begun).Nanoseconds())
	return nil
}

// ask sends n questions for a name to a DNS server, one after the other, and
// prints the median of the nanoseconds until each answer.
func ask(server, name string, n int64) error {
	c, err := net.Dial("udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return err
	}
	defer c.Close()
	var took []time.Duration
	for i := range n {
		d, err := askOnce(c, name, uint16(i))
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	fmt.Println(took[len(took)/2].Nanoseconds())
	return nil
}

func askOnce(c net.Conn, name string, id uint16) (time.Duration, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return 0, err
	}
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := q.Pack()
	if err != nil {
		return 0, err
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, err
	}
	begun := time.Now()
	if _, err := c.Write(packed); err != nil {
		return 0, err
	}
	buf := make([]byte, 512)
	k, err := c.Read(buf)
	took := time.Since(begun)
	if err != nil {
		return 0, err
	}
	var a dnsmessage.Message
	if err := a.Unpack(buf[:k]); err != nil {
		return 0, err
	}
	if a.ID != id || len(a.Answers) == 0 {
		return 0, fmt.Errorf("the answer has no address: %s", a.GoString())
	}
	return took, nil
}
