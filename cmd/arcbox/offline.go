package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// offline answers questions about history where no engine runs: it has the
// engine's binary read the journal, which changes nothing. This command links
// no journal, and prints the answer as it prints a running engine's.
type offline struct {
	path   string
	env    []string
	stderr io.Writer // for what the binary has to say
	run    func(ctx context.Context, o *offline, args []string) (stdout []byte, code int, err error)
	stream func(ctx context.Context, o *offline, args []string) (stdout io.Reader, wait func() (int, error), err error)
}

var _ engine = (*offline)(nil)

var errNothingFollows = &failure{
	code: exitNoEngine, kind: "unavailable", hint: "arcbox engine start\narcbox journal",
	message: "--follow: no engine is running, so that no record follows",
}

// Ask implements engine.
func (o *offline) Ask(ctx context.Context, question proto.Message) (proto.Message, error) {
	args := []string{"journal", "--format=json"}
	var answer proto.Message
	switch q := question.(type) {
	case *wire.QueryJournal:
		args, answer = append(args, queryArgs(q)...), &wire.Records{}
	case *wire.WhyMachine:
		args, answer = append(args, "why", q.GetName()), &wire.Why{}
	case *wire.VerifyJournal:
		args, answer = append(args, "verify"), &wire.Verified{}
	case *wire.MachinesAt:
		answer = &wire.PastMachines{}
	case *wire.DrawTimeline:
		answer = &wire.Timeline{}
	case *wire.CountJournal:
		answer = &wire.JournalStats{}
	case *wire.BackupJournal:
		answer = &wire.BackedUp{}
	default:
		return nil, errNothingFollows
	}
	if len(args) == 2 { // as it is
		doc, err := protojson.Marshal(question)
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		args = append(args, "ask", string(proto.MessageName(question)), string(doc))
	}
	out, code, err := o.run(ctx, o, args)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if code != 0 && len(bytes.TrimSpace(out)) == 0 {
		return nil, exitWith(code) // it has said why
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(out, answer); err != nil {
		return nil, fmt.Errorf("read the journal: what %s printed: %w", o.path, err)
	}
	return answer, nil
}

func queryArgs(q *wire.QueryJournal) []string {
	var args []string
	if q.GetMachine() != "" {
		args = append(args, "--machine="+q.GetMachine())
	}
	for _, kind := range q.GetKinds() {
		args = append(args, "--kind="+kind)
	}
	if q.GetSinceUnixNanos() != 0 {
		args = append(args, "--since="+time.Unix(0, q.GetSinceUnixNanos()).UTC().Format(time.RFC3339Nano))
	}
	return append(args, "--limit="+strconv.FormatUint(uint64(q.GetLimit()), 10))
}

// Command implements engine: nothing can be changed.
func (*offline) Command(context.Context, proto.Message) (*wire.Done, error) {
	return nil, errNothingFollows
}

// maxLine bounds one record in JSON.
const maxLine = 1 << 20

// Follow implements engine: it hands over what is there, and nothing follows.
func (o *offline) Follow(ctx context.Context, q *wire.QueryJournal, each func([]*wire.Record) error) error {
	doc, err := protojson.Marshal(q)
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, wait, err := o.stream(ctx, o, []string{"journal", "export", string(doc)})
	if err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		r := &wire.Record{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(lines.Bytes(), r); err != nil {
			return fmt.Errorf("read the journal: what %s printed: %w", o.path, err)
		}
		if err := each([]*wire.Record{r}); err != nil {
			return err
		}
	}
	code, err := wait()
	if err = errors.Join(lines.Err(), err); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if code != 0 {
		return exitWith(code) // it has said why
	}
	return nil
}

// Open implements engine.
func (*offline) Open(context.Context, *wire.Ticket) (net.Conn, error) { return nil, errNothingFollows }

// Close implements engine.
func (*offline) Close() {}

// runEngine runs the engine's binary to its end.
func runEngine(ctx context.Context, o *offline, args []string) ([]byte, int, error) {
	cmd := exec.CommandContext(ctx, o.path, args...) //nolint:gosec // found by us
	cmd.Env = o.env
	cmd.Stderr = o.stderr
	out, err := cmd.Output()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
		return out, ended.ExitCode(), nil
	}
	return out, 0, err
}

// streamEngine runs the engine's binary; wait ends with it.
func streamEngine(ctx context.Context, o *offline, args []string) (io.Reader, func() (int, error), error) {
	cmd := exec.CommandContext(ctx, o.path, args...) //nolint:gosec // found by us
	cmd.Env = o.env
	cmd.Stderr = o.stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	return out, func() (int, error) {
		err := cmd.Wait()
		if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
			return ended.ExitCode(), nil
		}
		return 0, err
	}, err
}
