package actors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// What a set-up may be.
const (
	maxProvision     = 64 << 10 // bytes
	minProvisionTime = time.Second
	DefaultProvision = 30 * time.Minute
	keepTime         = 10 * time.Second // for a synced file
	provisionAgain   = time.Second      // after nobody answered
)

// checkProvision reads a machine's set-up, nil where it has none.
func checkProvision(w *wire.Spec) (*fsm.Provision, error) {
	p := w.GetProvision()
	if p == nil {
		return nil, nil
	}
	kind := fsm.ProvisionKind(p.GetKind())
	if kind != fsm.ProvisionScript && kind != fsm.ProvisionUserData {
		return nil, badInput("provision", "provision kind %q: script or user-data", clip(p.GetKind(), 40))
	}
	field, limit := string(kind), time.Duration(p.GetTimeoutNanos())
	if limit == 0 {
		limit = DefaultProvision
	}
	switch n := len(p.GetText()); {
	case n == 0:
		return nil, badInput(field, "%s: it is empty", field)
	case n > maxProvision:
		return nil, badInput(field, "%s of %d bytes: at most %d", field, n, maxProvision)
	case kind == fsm.ProvisionUserData && w.GetImage() == "":
		return nil, badInput(field, "user-data: only a machine with an image that has cloud-init can take it; a script needs neither")
	case limit < minProvisionTime || limit > MaxTimeout:
		return nil, badInput("provision-timeout", "provision timeout %s: %s to %s", limit, minProvisionTime, MaxTimeout)
	}
	digest := sha256.Sum256(p.GetText())
	return &fsm.Provision{Kind: kind, Digest: hex.EncodeToString(digest[:]), Timeout: limit}, nil
}

// making is a create between its admission and its record: what is to set the
// machine up is written to the disk. Commands wait for it.
type making struct {
	c       *command
	spec    fsm.Spec
	release func() // of the image
	disk    bool   // it has one that came before it
	of      *fsm.Origin
	note    string // what is worth knowing
}

// kept is the result of that, and forgotten of its being taken away again, because
// of err.
type (
	kept      struct{ err error }
	forgotten struct{ err error }
)

// keepFirst keeps the machine's script before anybody is told that there is a
// machine. Where the engine dies in between, the next one takes it away.
func (m *machine) keepFirst(mk *making, text []byte) error {
	if m.Provisions == nil {
		mk.release()
		return refuse(wire.Code_CODE_LACKING, versionsHint, "this engine sets no machines up")
	}
	m.making = mk
	s, ref := m.shared, m.ref
	m.runOdd("keep", func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, keepTime)
		defer cancel()
		return kept{s.Provisions.Keep(limited, ref, text)}
	})
	return nil
}

// kept: the machine may be.
func (m *machine) kept(r kept) {
	err := r.err
	if err == nil {
		err = m.created(m.making)
	}
	if err == nil {
		m.keepDisk()
		m.made()
		return
	}
	s, ref := m.shared, m.ref
	m.runOdd("forget", func(ctx context.Context, _ func(any)) any {
		limited, cancel := within(ctx, s.Clock, keepTime)
		defer cancel()
		if err := s.Provisions.Forget(limited, ref); err != nil {
			s.Log.Warn("forget the set-up", "machine", ref.Name, "err", err)
		}
		return forgotten{err}
	})
}

// forgotten: nothing is left of a create that is refused.
func (m *machine) forgotten(r forgotten) {
	m.neverWas()
	m.answer(m.making.c, refused(r.err, nil))
	m.made()
}

// made ends a create, whatever came of it.
func (m *machine) made() {
	m.making.release()
	m.making = nil
	m.flush()
}

// provisionAgain asks for one more round of the set-up.
func (m *machine) provisionAgain(c *command) error {
	st := m.state()
	p := st.Spec.Provision
	switch {
	case p == nil:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox create --help", "machine %q has no set-up: it was created without --provision", m.ref.Name)
	case p.Kind == fsm.ProvisionUserData:
		return refuse(wire.Code_CODE_CONFLICT, "arcbox exec "+m.ref.Name+" -- cloud-init clean --reboot",
			"machine %q is set up by its image's cloud-init, which itself knows what it has done", m.ref.Name)
	}
	if err := m.whole(); err != nil {
		return err
	}
	if st.OwesProvision() {
		m.finish(c, "it is owed already")
		return nil
	}
	if err := m.roomOnDisk(); err != nil {
		return err
	}
	spec, again := st.Spec, *p
	again.Round++
	spec.Provision = &again
	if err := m.append(fsm.Record{Principal: c.principal, Request: c.request, Reason: c.reason, Fact: &fsm.SpecChangedFact{Spec: spec}}); err != nil {
		return err
	}
	m.finish(c, "")
	return nil
}

// beginProvision has the guest set up, as often as it takes to hear a result.
func (m *machine) beginProvision(d fsm.Duty) {
	s, ref, p := m.shared, m.ref, *m.state().Spec.Provision
	m.run(d, func(ctx context.Context, _ func(any)) any {
		for ctx.Err() == nil && s.Provisions != nil {
			fact, err := s.Provisions.Provision(ctx, ref, p)
			if err == nil {
				fact.Round = p.Round
				return provisioned{fact}
			}
			if ctx.Err() == nil {
				s.Log.Warn("set-up", "machine", ref.Name, "err", err)
			}
			sleep(ctx, s.Clock, provisionAgain)
		}
		return nil
	})
}

// provisioned is what a set-up came to.
type provisioned struct{ fact fsm.ProvisionedFact }

// setUpDone answers those who wait for a machine's set-up; nil where it goes on.
func (m *machine) setUpDone(w *waiter) proto.Message {
	st := m.state()
	switch {
	case st.Spec.Provision == nil:
		return m.doneMessage("it has nothing to set up")
	case !st.OwesProvision() && st.Provisioned.Result.OK():
		return m.doneMessage("")
	case !st.OwesProvision():
		return refused(m.setUpFailure(st.Provisioned.Result), &st)
	case st.Exit != nil && st.Exit.Seq > w.since && !st.State.Live() && len(fsm.Owed(st)) == 0:
		return refused(m.failure(), &st)
	}
	return nil
}

func (m *machine) setUpFailure(f fsm.ProvisionedFact) *Refusal {
	msg := fmt.Sprintf("machine %q runs, and its set-up failed: %s", m.ref.Name, f.What())
	if f.Tail != "" {
		msg += "\nThe output's last lines:\n" + f.Tail
	}
	hint := "arcbox provision " + m.ref.Name + " --again"
	if m.state().Spec.Provision.Kind == fsm.ProvisionUserData {
		hint = "arcbox logs " + m.ref.Name + " --provision"
	}
	return &Refusal{Code: wire.Code_CODE_FAILED, Message: msg, Hint: hint}
}

func provisionOnWire(p *fsm.Provision) *wire.Provision {
	if p == nil {
		return nil
	}
	return &wire.Provision{Kind: string(p.Kind), Digest: p.Digest, TimeoutNanos: int64(p.Timeout), Round: uint32(p.Round)}
}

func provisionedOnWire(p *fsm.Provisioned, whole bool) *wire.Provisioned {
	if p == nil {
		return nil
	}
	f := p.Result
	out := &wire.Provisioned{
		Ok: f.OK(), What: f.What(), UnixNanos: nanos(p.Time), TookNanos: int64(f.Took), Status: int32(f.Status), Signal: int32(f.Signal),
		TimedOut: f.TimedOut, Interrupted: f.Interrupted, Round: uint32(f.Round),
	}
	if whole {
		out.Tail = f.Tail
	}
	return out
}
