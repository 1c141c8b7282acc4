package actors

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// guestOwn are the trees of the guest that no share goes into: they are its kernel's
// and its agent's.
var guestOwn = []string{"/dev", "/proc", "/run", "/sys"}

// checkShares is a spec's shares. Whether the directories are there is for the VM
// host to see: one that is not costs the machine that share only.
func checkShares(shares []*wire.Share) ([]fsm.Share, error) {
	if len(shares) > hv.MaxShares {
		return nil, badInput("volume", "volume: %d of them, at most %d", len(shares), hv.MaxShares)
	}
	var out []fsm.Share
	for _, sh := range shares {
		host, guest := sh.GetHost(), sh.GetGuest()
		switch {
		case !filepath.IsAbs(host) || len(host) > 4096 || filepath.Clean(host) != host || hasControl(host):
			return nil, badInput("volume", "volume %q: of the host, an absolute path without control characters, . and ..", clip(host, 80))
		case !path.IsAbs(guest) || len(guest) > 4096 || path.Clean(guest) != guest || hasControl(guest):
			return nil, badInput("volume", "volume %q: of the guest, an absolute path without control characters, . and ..", clip(guest, 80))
		case guest == "/" || slices.ContainsFunc(guestOwn, func(own string) bool { return strings.HasPrefix(guest+"/", own+"/") }):
			return nil, badInput("volume", "volume %q: a directory of the guest below /, and not in %s", clip(guest, 80), strings.Join(guestOwn, ", "))
		case slices.ContainsFunc(out, func(o fsm.Share) bool { return o.Guest == guest }):
			return nil, badInput("volume", "volume %q: two of them are for this directory of the guest", clip(guest, 80))
		}
		out = append(out, fsm.Share{Host: host, Guest: guest, Writable: sh.GetWritable()})
	}
	return out, nil
}

// ownShares refuses directories that have to do with the engine's own.
func (s *shared) ownShares(shares []fsm.Share) error {
	for _, sh := range shares {
		if s.Home != "" && Overlap(sh.Host, filepath.Clean(s.Home)) {
			return OwnShare(sh.Host)
		}
	}
	return nil
}

// Overlap tells whether one of two directories lies in the other. Both are absolute
// and clean.
func Overlap(a, b string) bool {
	a, b = strings.TrimSuffix(a, "/")+"/", strings.TrimSuffix(b, "/")+"/"
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// OwnShare is the refusal of a directory through which a guest would see what the
// engine keeps of other machines.
func OwnShare(dir string) *Refusal {
	return &Refusal{Code: wire.Code_CODE_UNSAFE, Field: "volume", Hint: "arcbox create --help",
		Message: fmt.Sprintf("volume %q: it lies in the engine's own directory, or that in it", clip(dir, 200))}
}

// shareLost begins the health of a machine that lacks shares.
const shareLost = "lost shares: "

// sharesKnown is the result of asking how the shares do.
type sharesKnown struct {
	launch string
	errs   []string
	err    error
}

// shareNames are how the shares of a spec are called, in the order in which they are
// told of. Rosetta is one more, the last.
func shareNames(spec fsm.Spec) []string {
	var names []string
	for _, sh := range spec.Shares {
		names = append(names, sh.Guest)
	}
	if spec.Rosetta {
		names = append(names, hv.RosettaTag)
	}
	return names
}

// knowShares asks how a VM's shares do, where it has any.
func (s *shared) knowShares(ctx context.Context, ref Ref, launch string, spec fsm.Spec) sharesKnown {
	if s.Shares == nil || len(shareNames(spec)) == 0 {
		return sharesKnown{launch: launch}
	}
	ctx, cancel := within(ctx, s.Clock, sharesTime)
	defer cancel()
	errs, err := s.Shares(ctx, ref, spec)
	return sharesKnown{launch, errs, err}
}

// askShares does so beside the machine's life; again, where the answer that is on its
// way may be too old.
func (m *machine) askShares() {
	st := m.state()
	if st.Launch == nil || st.Paused() || !fsm.May(st.State, fsm.KindRebooted) || len(shareNames(st.LaunchSpec())) == 0 {
		return
	}
	if m.odd["shares"] != nil {
		m.sharesAsk = true
		return
	}
	s, ref, launch, spec := m.shared, m.ref, st.Launch.ID, st.LaunchSpec()
	m.runOdd("shares", func(ctx context.Context, _ func(any)) any { return s.knowShares(ctx, ref, launch, spec) })
}

func (m *machine) sharesKnown(k sharesKnown) {
	again := m.sharesAsk
	m.sharesAsk = false
	st := m.state()
	if st.Launch == nil || st.Launch.ID != k.launch {
		return
	}
	if k.err != nil { // who does not answer is the monitor's to tell
		m.Log.Warn("shares", "machine", m.ref.Name, "err", k.err)
	} else {
		m.shares = k.errs
		m.publish()
		if h := m.latest(); h.Level == fsm.HealthOK || strings.HasPrefix(h.Why, shareLost) {
			m.well()
		}
	}
	if again {
		m.askShares()
	}
}

// shareWhy is what is wrong with the shares; "" = nothing, as far as is known.
func (m *machine) shareWhy() string {
	if m.state().Launch == nil {
		return ""
	}
	var bad []string
	why := ""
	for i, name := range shareNames(m.state().LaunchSpec()) {
		if i < len(m.shares) && m.shares[i] != "" {
			bad = append(bad, name)
			why = m.shares[i]
		}
	}
	if len(bad) == 0 {
		return ""
	}
	return shareLost + strings.Join(bad, ", ") + ": " + why
}

func shareOnWire(s fsm.Share) *wire.Share {
	return &wire.Share{Host: s.Host, Guest: s.Guest, Writable: s.Writable}
}

// sharesOnWire is how the shares do that the VM, or else the next one, has.
func sharesOnWire(m *Seen) []*wire.ShareState {
	var out []*wire.ShareState
	for i, sh := range m.LaunchSpec().Shares {
		w := &wire.ShareState{Share: shareOnWire(sh)}
		switch {
		case !m.State.Live():
			w.Error = "the machine is " + string(m.State)
		case i < len(m.Shares):
			w.Error = m.Shares[i]
		default:
			w.Error = "not known yet"
		}
		out = append(out, w)
	}
	return out
}
