package agent

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

const maxProvision = 24 * time.Hour

var provisionKey = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,99}$`)

// provisions is the machine's set-ups: one at a time.
type provisions struct {
	root string // of the machine; tests have another
	mu   sync.Mutex
	ctx  context.Context // the agent's
	work sync.WaitGroup
	now  *provisioning // under way, or the last of this boot; nil = none
}

// provisioning is one set-up. result and err may be read once done is closed.
type provisioning struct {
	key    string
	output *output
	done   chan struct{}
	result *wire.ProvisionDone
	err    error // why it has no result
}

func (s *provisioning) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// live says for how long set-ups may run. What it returns awaits their end.
func (u *provisions) live(ctx context.Context) (wait func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ctx = ctx
	return u.work.Wait
}

// Provision carries a set-up out, joins the one under way, or tells its result.
func (a *Agent) Provision(req *wire.ProvisionRequest, stream wire.Agent_ProvisionServer) error {
	if err := checkProvision(req); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	s, err := a.beginProvision(req)
	if err != nil {
		return err
	}
	for at, over := int64(0), false; !over; {
		text, next, end, more := s.output.from(at, wire.Chunk)
		at, over = next, end
		if len(text) > 0 {
			if err := stream.Send(&wire.ProvisionReply{Msg: &wire.ProvisionReply_Output{Output: text}}); err != nil {
				return err
			}
			continue
		}
		if over {
			break
		}
		select {
		case <-more:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
	<-s.done // right behind the output's end
	if s.err != nil {
		return status.Error(codes.Unavailable, s.err.Error())
	}
	return stream.Send(&wire.ProvisionReply{Msg: &wire.ProvisionReply_Done{Done: s.result}})
}

func checkProvision(req *wire.ProvisionRequest) error {
	switch n, limit := len(req.GetScript()), time.Duration(req.GetTimeoutNanos()); {
	case !provisionKey.MatchString(req.GetKey()):
		return fmt.Errorf("key %q: 1 to 100 lower-case letters, digits and hyphens", req.GetKey()[:min(len(req.GetKey()), 100)])
	case req.GetCloudInit() != (n == 0):
		return errors.New("script: either a script or cloud_init")
	case n > wire.MaxScript:
		return fmt.Errorf("script: %d bytes, at most %d", n, wire.MaxScript)
	case limit <= 0 || limit > maxProvision:
		return fmt.Errorf("timeout: %v, want up to %v", limit, maxProvision)
	}
	return nil
}

// beginProvision finds a set-up by its key, or begins it. It goes on without its
// caller, as long as the agent lives.
func (a *Agent) beginProvision(req *wire.ProvisionRequest) (*provisioning, error) {
	u := &a.provisions
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.now; s != nil {
		if s.key == req.GetKey() && (s.running() || s.err == nil) {
			return s, nil
		}
		if s.running() {
			return nil, status.Errorf(codes.FailedPrecondition, "set-up %s is under way", s.key)
		}
	}
	if u.ctx == nil || u.ctx.Err() != nil {
		return nil, status.Error(codes.Unavailable, errGoingDown.Error())
	}
	s := &provisioning{key: req.GetKey(), output: newOutput(), done: make(chan struct{})}
	u.now = s
	u.work.Go(func() {
		defer s.output.end()
		defer close(s.done)
		began := time.Now()
		s.result, s.err = a.carryOut(u.ctx, s, req)
		if s.err != nil {
			a.opts.Log.Warn("set-up", "key", s.key, "err", s.err)
			return
		}
		if s.result.GetTookNanos() == 0 {
			s.result.TookNanos = int64(time.Since(began))
		}
		a.opts.Log.Info("set-up", "key", s.key, "status", s.result.GetStatus(), "signal", s.result.GetSignal(), "error", s.result.GetError())
	})
	return s, nil
}

// carryOut does what was asked for, unless it was done before.
func (a *Agent) carryOut(ctx context.Context, s *provisioning, req *wire.ProvisionRequest) (_ *wire.ProvisionDone, err error) {
	defer recovered(a.opts.Log, "Provision", &err)
	limited, cancel := context.WithTimeout(ctx, time.Duration(req.GetTimeoutNanos()))
	defer cancel()
	if req.GetCloudInit() {
		return a.awaitCloudInit(limited, ctx, s)
	}
	if done, err := a.provisions.before(s.key); done != nil || err != nil {
		return done, err
	}
	if err := a.awaitBooted(limited); err != nil {
		if ctx.Err() != nil {
			return nil, errGoingDown
		}
		return &wire.ProvisionDone{TimedOut: true, Error: "the machine's init was not ready in time; the script was not run"}, nil
	}
	return a.runScript(ctx, limited, s, req.GetScript())
}

func (a *Agent) awaitBooted(ctx context.Context) error {
	if a.opts.Booted == nil {
		return ctx.Err()
	}
	select {
	case <-a.opts.Booted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
