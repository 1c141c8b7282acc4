package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/tree"
	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// CopyOut sends a file or a tree.
func (a *Agent) CopyOut(req *wire.CopyOutRequest, stream wire.Agent_CopyOutServer) error {
	done, err := a.copying()
	if err != nil {
		return err
	}
	defer done()
	path, _, err := copyPath(string(req.GetPath()), req.GetUser())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return copyStatus(tree.Send(stream.Context(), path, stream.Send, &tree.Stats{}))
}

// CopyIn writes a file or a tree. Whose it is depends on the user; where the
// agent may write does not: it is root's copy.
func (a *Agent) CopyIn(stream wire.Agent_CopyInServer) error {
	done, err := a.copying()
	if err != nil {
		return err
	}
	defer done()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	if start == nil {
		return status.Error(codes.InvalidArgument, "start: missing, want it as the first message")
	}
	path, who, err := copyPath(string(start.GetPath()), start.GetUser())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	to := tree.Target{Path: path, Name: string(start.GetName()), Into: start.GetInto(), Links: true}
	if start.GetUser() != "" && os.Geteuid() == 0 {
		to.Owner = &tree.Owner{UID: int(who.uid), GID: int(who.gid)}
	}
	next := func() (*wire.CopyPart, error) {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if m.GetPart() == nil {
			return nil, status.Error(codes.InvalidArgument, "message: want a part")
		}
		return m.GetPart(), nil
	}
	if err := tree.Receive(to, next, &tree.Stats{}); err != nil {
		return copyStatus(err)
	}
	return stream.SendAndClose(&wire.CopyInReply{})
}

// copying takes one of the places for copies.
func (a *Agent) copying() (done func(), err error) {
	select {
	case a.copies <- struct{}{}:
		return func() { <-a.copies }, nil
	default:
		return nil, status.Errorf(codes.ResourceExhausted, "%d copies go through the agent already", maxCopies)
	}
}

// copyPath finds a path of the guest, and the user whose home it may begin at.
// An end in a slash stays: it says that a directory is meant.
func copyPath(path, user string) (string, account, error) {
	if err := errors.Join(checkString(path), checkString(user)); err != nil {
		return "", account{}, err
	}
	who, err := findUserOrSelf(user)
	if err != nil {
		return "", who, err
	}
	if path == "" {
		path = "."
	}
	if !filepath.IsAbs(path) {
		path = strings.TrimSuffix(who.home, "/") + "/" + path
	}
	return path, who, nil
}

// copyStatus is an error as the client gets it: what the system said of a
// file, or that the client broke the rules.
func copyStatus(err error) error {
	code := codes.FailedPrecondition
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, io.ErrUnexpectedEOF):
		code = codes.Canceled
	case errors.Is(err, tree.ErrParts):
		code = codes.InvalidArgument
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	return status.Error(code, strings.TrimPrefix(err.Error(), "copy: "))
}
