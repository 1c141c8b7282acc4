package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/virtiofs"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// mountTime is how long one question for the shares waits in the guest.
const mountTime = 15 * time.Second

// checkShares refuses shares that no VM host can serve, or that must not be. One
// whose directory is not there is the VM host's to tell: the machine runs without it.
func (w *World) checkShares(spec fsm.Spec) error {
	if len(spec.Shares) == 0 {
		return nil
	}
	home, err := filepath.EvalSymlinks(filepath.Dir(w.Machines))
	if err != nil {
		home = filepath.Dir(w.Machines) // nothing can lie there yet
	}
	for _, sh := range spec.Shares {
		if actors.Overlap(sh.Host, home) {
			return actors.OwnShare(sh.Host)
		}
	}
	if spec.Backend != string(hv.BackendQEMU) { // it brings its own virtiofs
		return nil
	}
	if err := virtiofs.Usable(); err != nil {
		return &actors.Refusal{Code: wire.Code_CODE_LACKING, Field: "volume", Message: "volume: " + err.Error(), Hint: remedyFor(err)}
	}
	return nil
}

// remedyFor is the command that brings what shares lack.
func remedyFor(err error) string {
	if errors.Is(err, virtiofs.ErrNoIDs) {
		return "apt-get install uidmap"
	}
	return "apt-get install qemu-system-common"
}

func tagOf(i int) string { return fmt.Sprintf("share%d", i+1) }

// tagsOf are the tags of a spec's shares, Rosetta's last.
func tagsOf(spec fsm.Spec) []string {
	var tags []string
	for i := range spec.Shares {
		tags = append(tags, tagOf(i))
	}
	if spec.Rosetta {
		tags = append(tags, hv.RosettaTag)
	}
	return tags
}

// withShares gives the VM its shares, and returns what its guest is told of them.
func withShares(s *hv.Spec, spec fsm.Spec) ([]boot.Secret, error) {
	var told []guestwire.Share
	if len(spec.Shares) > 0 {
		s.Version = max(s.Version, hv.SpecVersionShares)
	}
	for i, sh := range spec.Shares {
		s.Shares = append(s.Shares, hv.Share{Tag: tagOf(i), Path: sh.Host, Writable: sh.Writable})
		told = append(told, guestwire.Share{Tag: tagOf(i), On: sh.Guest, Writable: sh.Writable})
	}
	if spec.Rosetta {
		s.Version, s.Rosetta = max(s.Version, hv.SpecVersionRosetta), true
		told = append(told, guestwire.Share{Tag: hv.RosettaTag, On: guestwire.RosettaOn, Rosetta: true})
	}
	if len(told) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	return []boot.Secret{{Name: guestwire.SharesSecret, Data: text}}, nil
}

// Shares says how the shares of a VM do, once its guest has them mounted or has given
// up. See actors.Options. What the host knows goes before what the guest does: it is
// the cause.
func (w *World) Shares(ctx context.Context, ref actors.Ref, spec fsm.Spec) ([]string, error) {
	hello, err := client.Connect(w.place(ref)).Hello(ctx)
	if err != nil {
		return nil, fmt.Errorf("shares: %w", err)
	}
	tags := tagsOf(spec)
	errs, lost := make([]string, len(tags)), []string(nil)
	for _, s := range hello.Shares {
		for i := range errs {
			if s.Tag == tags[i] && s.Error != "" {
				errs[i], lost = clean(s.Error), append(lost, s.Tag)
			}
		}
	}
	if spec.Backend == string(hv.BackendSim) {
		return errs, nil
	}
	inside, err := w.mounted(ctx, ref, lost)
	if err != nil {
		return nil, err
	}
	for i := range errs {
		if errs[i] == "" {
			errs[i] = inside(tags[i])
		}
	}
	return errs, nil
}

// mounted asks the guest, and returns its answer for each tag. The lost ones are
// covered there.
func (w *World) mounted(ctx context.Context, ref actors.Ref, lost []string) (func(tag string) string, error) {
	c, err := guest.Connect(ctx, w.dialer(ref))
	if err != nil {
		return nil, fmt.Errorf("shares: %w", err)
	}
	defer func() { _ = c.Close() }()
	states, err := c.Shares(ctx, mountTime, lost...)
	if err != nil {
		return nil, err
	}
	return func(tag string) string {
		for _, s := range states {
			if s.GetTag() == tag {
				return clean(s.GetError())
			}
		}
		return "the guest's agent does not know of it"
	}, nil
}

// clean is what others say of a share, fit for a line.
func clean(s string) string {
	const most = 300
	if s = oneLine(s); len(s) > most {
		s = oneLine(s[:most]) + "…"
	}
	return s
}
