package qemu

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/console"
	"github.com/arcboxlabs/arcbox-engine/hv/virtiofs"
)

// share is one share of a VM and who serves it.
type share struct {
	hv.Share
	server *virtiofs.Server // nil = it never was
	output *console.Tail
}

// shares are those of one VM.
type shares struct {
	all  []share
	lost chan share // whose server ended
	quit chan struct{}
	wait sync.WaitGroup

	mu    sync.Mutex
	state []hv.ShareState // as all
}

// serveShares starts a server for each share, all at once. The VM gets those that
// answer; what is wrong with another is its state. It leaves no server where ctx is
// over.
func (v *vm) serveShares(ctx context.Context, spec hv.Spec) ([]hv.Share, error) {
	s := v.shares
	s.all, s.state = make([]share, len(spec.Shares)), make([]hv.ShareState, len(spec.Shares))
	s.lost, s.quit = make(chan share, len(spec.Shares)), make(chan struct{})
	var starting sync.WaitGroup
	for i, sh := range spec.Shares {
		s.all[i] = share{Share: sh, output: &console.Tail{}}
		s.state[i].Tag = sh.Tag
		starting.Go(func() {
			var err error
			s.all[i].server, err = virtiofs.Start(ctx, virtiofs.Options{
				Share: sh, RunDir: spec.RunDir, Lock: v.env.Lock, Fork: v.env.Fork, Output: s.all[i].output,
			})
			if err != nil {
				s.state[i].Error = said(err.Error(), s.all[i].output)
			}
		})
	}
	starting.Wait()
	if err := ctx.Err(); err != nil {
		s.stop()
		return nil, err
	}
	var served []hv.Share
	for i, sh := range s.all {
		if sh.server == nil {
			v.env.Logf("qemu: share %s of %q is not served: %s", sh.Tag, sh.Path, s.state[i].Error)
			continue
		}
		served = append(served, sh.Share)
		s.wait.Go(func() {
			select {
			case <-sh.server.Done():
				if v.alive(abortGrace) { // it ends with QEMU as well
					s.lost <- sh
				}
			case <-s.quit:
			}
		})
	}
	return served, nil
}

// said adds what a server printed last to why it does not serve.
func said(why string, output *console.Tail) string {
	if words := output.LastLines(); words != "" {
		return why + ": " + words
	}
	return why
}

// takeSockets are the connections to the servers, in order; the caller closes them.
func (s *shares) takeSockets() (out []*os.File) {
	for _, sh := range s.all {
		if sh.server != nil {
			out = append(out, sh.server.Socket)
		}
	}
	return out
}

// loseShare notes that a server has ended before the VM: only its share is lost.
func (v *vm) loseShare(sh share) {
	why := said("its virtiofsd ended ("+sh.server.Ended()+")", sh.output)
	v.shares.mu.Lock()
	for i := range v.shares.state {
		if v.shares.state[i].Tag == sh.Tag {
			v.shares.state[i].Error = why
		}
	}
	v.shares.mu.Unlock()
	v.env.Logf("qemu: share %s of %q is lost: %s", sh.Tag, sh.Path, why)
	v.say(hv.Event{Kind: hv.EventShare, Why: sh.Tag + ": " + why, Time: time.Now()})
}

// Shares says how the shares do.
func (v *vm) Shares() []hv.ShareState {
	v.shares.mu.Lock()
	defer v.shares.mu.Unlock()
	return append([]hv.ShareState(nil), v.shares.state...)
}

// stop ends all servers. It may be called once a VM.
func (s *shares) stop() {
	if s.quit == nil {
		return
	}
	close(s.quit)
	s.wait.Wait()
	for _, sh := range s.all {
		if sh.server != nil {
			_ = sh.server.Socket.Close() // QEMU has it, or never was
			sh.server.Stop()
		}
	}
}
