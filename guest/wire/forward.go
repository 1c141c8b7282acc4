package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A client that sends Forward in the place of gRPC, then a line with a protocol
// and a place, is connected with that socket of the guest: "tcp 80" is the port
// 80 of its loopback, "tcp 172.17.0.1:80" that of an address of its own, "unix
// /run/docker.sock" a path. The agent answers a line:
// "ok", and everything behind it is the socket's; or "no" and why not.
const (
	Forward        = "ARCBOXF\n" // as long as Magic
	MaxForwardLine = 512
)

// AbilityForward says that an agent knows Forward.
const AbilityForward = "forward"

// ErrNoForward is the agent's refusal: nobody listens there.
var ErrNoForward = errors.New("the guest refuses the forward")

// AskForward asks for a socket of the guest, on a connection that was welcomed.
// The caller bounds it by a deadline on the connection.
func AskForward(c io.ReadWriter, protocol, to string) error {
	line := protocol + " " + to + "\n"
	if len(line) > MaxForwardLine || strings.ContainsAny(protocol+to, "\n\r\x00") {
		return fmt.Errorf("forward to %.80q: one line of at most %d bytes", to, MaxForwardLine)
	}
	if _, err := io.WriteString(c, Forward+line); err != nil {
		return fmt.Errorf("ask for a forward: %w", err)
	}
	answer, err := readForwardLine(c)
	if err != nil {
		return fmt.Errorf("ask for a forward: %w", err)
	}
	if answer == "ok" {
		return nil
	}
	return fmt.Errorf("%w: %.200q", ErrNoForward, strings.TrimPrefix(answer, "no "))
}

// ReadForward reads what AskForward asks for, behind the word Forward.
func ReadForward(c io.Reader) (protocol, to string, err error) {
	line, err := readForwardLine(c)
	if err != nil {
		return "", "", err
	}
	protocol, to, ok := strings.Cut(line, " ")
	if !ok || to == "" {
		return "", "", fmt.Errorf("forward %.80q: a protocol and a place are wanted", line)
	}
	return protocol, to, nil
}

// AnswerForward says that the forward is there, or why it is not.
func AnswerForward(c io.Writer, why error) error {
	line := "ok\n"
	if why != nil {
		line = "no " + strings.Join(strings.Fields(why.Error()), " ")
		line = line[:min(len(line), MaxForwardLine-1)] + "\n"
	}
	_, err := io.WriteString(c, line)
	return err
}

// readForwardLine reads byte by byte: what comes behind the line is not ours.
func readForwardLine(c io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < MaxForwardLine {
		if _, err := io.ReadFull(c, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[0])
	}
	return "", bufio.ErrTooLong
}
