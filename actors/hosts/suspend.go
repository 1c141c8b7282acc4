package hosts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/client"
)

// Save has a guest written to its machine's directory. Its VM's end follows, with
// the cause saved. See actors.Options.
func (w *World) Save(ctx context.Context, ref actors.Ref) error {
	host := client.Connect(w.place(ref))
	ctx, cancel := context.WithCancel(ctx)
	unplugged := w.unplugs(ctx, ref, host)
	err := host.Save(ctx)
	cancel()
	<-unplugged
	if errors.Is(err, hv.ErrUnsupported) {
		return fmt.Errorf("its VM host is older than that, or its backend can't: %w", errors.Join(actors.ErrNoSave, err))
	}
	return err
}

// unplugs has the guest of a QEMU let go of its vsock device, which takes it five seconds
// where only the host asks. The VM host asks at the same time: who is first does not
// matter, nor that this comes to nothing.
func (w *World) unplugs(ctx context.Context, ref actors.Ref, host *client.Host) <-chan struct{} {
	done := make(chan struct{})
	asked, cancel := context.WithTimeout(ctx, shutdownGrace)
	hello, err := host.Hello(asked)
	var c *guest.Client
	if err == nil && hello.Backend == hv.BackendQEMU && slices.Contains(hello.Ops, api.OpSave) {
		c, err = guest.Connect(asked, w.dialer(ref))
	}
	if c == nil || err != nil {
		cancel()
		close(done)
		return done
	}
	go func() {
		defer close(done)
		defer cancel()
		defer func() { _ = c.Close() }()
		if err := c.Unplug(asked); err != nil && asked.Err() == nil {
			w.Logger.Info("the guest does not let go of its vsock device by itself", "machine", ref.Name, "err", err)
		}
	}()
	return done
}

// begin says in a spec whether its launch goes on from the saved guest, and gives the
// launch's token: the one that is in that guest's memory, else a new one. A launch that
// boots leaves no saved guest, whose memory would be older than its disk.
func begin(s *hv.Spec, ref actors.Ref, saved bool) ([]byte, error) {
	path := filepath.Join(s.Dir, api.SavedFile)
	if !saved {
		for _, old := range []string{api.SavedFile, api.SavedStage, api.SavedConfig} {
			if err := os.Remove(filepath.Join(s.Dir, old)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("remove the saved guest: %w", err)
			}
		}
		token := make([]byte, guestwire.TokenSize)
		_, _ = rand.Read(token) // it never fails
		if err := writeToken(s.TokenFile, token); err != nil {
			return nil, fmt.Errorf("write token: %w", err)
		}
		return token, nil
	}
	s.Version, s.Saved = max(s.Version, hv.SpecVersionSaved), path
	lost := func(why string) error {
		return &actors.Refusal{Code: wire.Code_CODE_CONFLICT, Hint: "arcbox start --fresh " + ref.Name,
			Message: fmt.Sprintf("machine %[1]q can't go on: %[2]s (arcbox start --fresh %[1]s boots it)", ref.Name, why)}
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil, lost("its saved guest is not there: " + path)
	case err != nil:
		return nil, fmt.Errorf("saved guest: %w", err)
	case !info.Mode().IsRegular():
		return nil, lost("its saved guest is no regular file: " + path)
	}
	token, err := guestwire.ReadToken(s.TokenFile)
	if err != nil {
		return nil, lost("the token that its saved guest has can't be read: " + err.Error())
	}
	return token, nil
}
