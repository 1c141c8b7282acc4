package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

const (
	// unplugTime is for a guest to let go of its vsock device. One that nobody inside
	// tells to takes five seconds, which a person at the slot would have to change his
	// mind.
	unplugTime = 30 * time.Second
	// noLimit bounds a migration's pace, in bytes a second: as much as the disk takes.
	noLimit = 1 << 40
)

// savedName is how QEMU calls the file of a saved guest.
const savedName = "saved"

// plug is what the guest's vsock slot and a migration say to who does something to them.
type plug struct {
	gone  chan struct{} // has one for each time that the guest let go of the device
	moved chan string   // how a migration ended
	wants atomic.Bool   // somebody waits for gone
}

func newPlug() *plug { return &plug{gone: make(chan struct{}, 1), moved: make(chan string, 1)} }

// unplugged hands an event to Save or restore. A device that the guest let go of when
// nobody waits for that any more is plugged in again.
func (v *vm) unplugged(e qmpEvent) {
	switch {
	case e.name == "MIGRATION" && (e.data.Status == "completed" || e.data.Status == "failed"):
		select {
		case v.plug.moved <- e.data.Status:
		default:
		}
	case e.name == "DEVICE_DELETED" && e.data.Device == vsockDevice:
		if v.plug.wants.CompareAndSwap(true, false) {
			v.plug.gone <- struct{}{}
		} else {
			v.streams.Go(v.plugLate)
		}
	}
}

// plugLate plugs in the device that came off when nobody wanted it to any more.
func (v *vm) plugLate() {
	v.turns.Lock()
	defer v.turns.Unlock()
	if err := v.plugIn(context.Background()); err != nil {
		v.env.Logf("qemu: %v", err)
	}
}

// Save writes the guest to a file and ends the VM.
func (v *vm) Save(ctx context.Context, path string) error {
	v.turns.Lock()
	defer v.turns.Unlock()
	switch {
	case v.held:
		return errors.New("hv/qemu: save: the guest is held still")
	case len(v.shares.all) > 0:
		return fmt.Errorf("hv/qemu: save: a guest with shares can't be saved: %w", hv.ErrUnsupported)
	}
	stage, err := stageOf(path)
	if err != nil {
		return fmt.Errorf("hv/qemu: save: %w", err)
	}
	v.saving.Store(true)
	defer v.saving.Store(false)
	if err = v.unplugVsock(ctx); err == nil {
		if err = v.writeOut(ctx, stage, path); err != nil {
			err = errors.Join(err, v.goOnUnsaved())
		}
	}
	if err = errors.Join(err, stage.Close()); err != nil {
		_ = os.Remove(stage.Name())
		return fmt.Errorf("hv/qemu: save: %w", err)
	}
	v.saved.Store(true)
	_ = v.proc.Kill() // its processors stand still, its disks are written
	return nil
}

// stageOf makes the file that becomes the one at path when it is whole.
func stageOf(path string) (*os.File, error) {
	stage, err := hv.SavedStage(path)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(stage, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// unplugVsock has the guest let go of the device without which the VM can be saved.
func (v *vm) unplugVsock(ctx context.Context) error {
	v.plug.wants.Store(true)
	err := v.command(ctx, "device_del", map[string]string{"id": vsockDevice})
	if q, ok := errors.AsType[*qmpError](err); err != nil && (!ok || q.Class != "DeviceNotFound") { // it let go unasked
		v.plug.wants.Store(false)
		return err
	}
	late := time.NewTimer(unplugTime)
	defer late.Stop()
	var why error
	select {
	case <-v.plug.gone:
		return nil
	case <-v.reaped:
		return hv.ErrGone
	case <-late.C:
		why = fmt.Errorf("its guest did not let go of its vsock device within %s: its kernel may have no hot plug of PCIe", unplugTime)
	case <-ctx.Done():
		why = ctx.Err()
	}
	if v.plug.wants.CompareAndSwap(true, false) {
		return why // should it come off later, it is plugged in again
	}
	<-v.plug.gone // it came off just now
	return errors.Join(why, v.goOnUnsaved())
}

// goOnUnsaved has the guest go on as it was before.
func (v *vm) goOnUnsaved() error {
	if v.qmp.over() {
		return hv.ErrGone
	}
	return errors.Join(v.plugIn(context.Background()), v.command(context.Background(), "cont", nil))
}

// plugIn gives the guest its vsock device again.
func (v *vm) plugIn(ctx context.Context) error {
	if v.dev != nil {
		return v.addVsock(ctx, vsockFile)
	}
	f, err := openVhost(vhostDevice, v.cid)
	if err != nil {
		return err
	}
	err = v.qmp.lend(ctx, vsockFile, f)
	_ = f.Close() // QEMU has its own
	if err != nil {
		return err
	}
	return v.addVsock(ctx, vsockFile)
}

// addVsock puts the device in its slot. vhost is QEMU's name for the kernel's, where that
// is behind it: one that was lent, or the number of a descriptor.
func (v *vm) addVsock(ctx context.Context, vhost string) error {
	device := map[string]any{"id": vsockDevice, "bus": vsockSlot, "driver": "vhost-user-vsock-pci", "chardev": vsockDevice}
	if v.dev == nil {
		device = map[string]any{"id": vsockDevice, "bus": vsockSlot, "driver": "vhost-vsock-pci", "guest-cid": v.cid, "vhostfd": vhost}
	}
	if err := v.command(ctx, "device_add", device); err != nil {
		return fmt.Errorf("hv/qemu: give the guest its vsock device: %w", err)
	}
	return nil
}

// writeOut writes a VM without devices of other processes to its file.
func (v *vm) writeOut(ctx context.Context, stage *os.File, path string) error {
	if err := v.command(ctx, "stop", nil); err != nil {
		return err
	}
	if err := v.migrate(ctx, "migrate", stage); err != nil {
		return err
	}
	return hv.KeepSaved(stage, path)
}

// migrate writes the VM to a file, or reads it from there.
func (v *vm) migrate(ctx context.Context, command string, f *os.File) error {
	select {
	case <-v.plug.moved: // of one that was given up
	default:
	}
	events := map[string]any{"capabilities": []any{map[string]any{"capability": "events", "state": true}}}
	if err := v.command(ctx, "migrate-set-capabilities", events); err != nil {
		return err
	}
	if err := v.command(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(noLimit)}); err != nil {
		return err
	}
	if err := v.qmp.lend(ctx, savedName, f); err != nil {
		return err
	}
	if err := v.command(ctx, command, map[string]string{"uri": "fd:" + savedName}); err != nil {
		return err
	}
	select {
	case how := <-v.plug.moved:
		if how != "completed" {
			return v.whyNotMoved()
		}
		return nil
	case <-v.qmp.ended:
		return v.qmp.reason()
	case <-ctx.Done():
		if command == "migrate" {
			_ = v.command(context.Background(), "migrate_cancel", nil) // it may just have come to its end
		}
		return ctx.Err()
	}
}

// whyNotMoved is what QEMU says of a migration that failed. It says less than it knows.
func (v *vm) whyNotMoved() error {
	ctx, cancel := context.WithTimeout(context.Background(), v.driver.callTimeout)
	defer cancel()
	said, err := v.qmp.exchange(ctx, "query-migrate", nil, nil)
	var info struct {
		Why string `json:"error-desc"`
	}
	if err == nil {
		err = json.Unmarshal(said, &info)
	}
	switch {
	case err != nil:
		return err
	case info.Why == "":
		return errors.New("QEMU could not write or read it, and does not say why: the disk may be full")
	}
	return errors.New(info.Why)
}

// restore reads the guest of an earlier VM. The file is good once: the guest does not go
// on before it is gone.
func (v *vm) restore(ctx context.Context) error {
	f, err := os.Open(v.from)
	if err != nil {
		return fmt.Errorf("hv/qemu: saved guest: %w", err)
	}
	defer func() { _ = f.Close() }() // read-only
	if err := v.migrate(ctx, "migrate-incoming", f); err != nil {
		return err
	}
	if err := v.addVsock(ctx, strconv.Itoa(fdVsock)); err != nil { // the kernel's is open there
		return err
	}
	return hv.DropSaved(v.from)
}

// ofSaved says of a start that failed that it was to go on from a file, which is still
// there.
func (v *vm) ofSaved(err error) error {
	if _, gone := os.Stat(v.from); v.from == "" || gone != nil {
		return err
	}
	return fmt.Errorf("hv/qemu: go on from the saved guest %q, which is kept: %w", v.from, err)
}
