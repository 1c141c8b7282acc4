package hosts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/guest"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
	"github.com/arcboxlabs/arcbox-engine/guest/files"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// A machine's set-up, in its directory, and its output, in two halves.
const (
	provisionFile    = "provision"
	provisionLog     = "provision.log"
	provisionLogHalf = 512 << 10 // bytes
)

// What the guest's agent finds user-data by: see package guest/agent.
const (
	secretMetaData = "seed-meta-data"
	secretUserData = "seed-user-data"
)

// Keep implements actors.Provisions.
func (w *World) Keep(_ context.Context, ref actors.Ref, text []byte) error {
	dir := w.place(ref).Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the set-up: %w", err)
	}
	if err := errors.Join(files.Replace(filepath.Join(dir, provisionFile), text, 0o600), files.SyncDir(w.Machines)); err != nil {
		return fmt.Errorf("keep the set-up: %w", err)
	}
	return nil
}

// Forget implements actors.Provisions. The lock's file may lie there: who looks
// whether a VM runs makes it.
func (w *World) Forget(_ context.Context, ref actors.Ref) error {
	dir := w.place(ref).Dir
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	nobodys := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == newDisk })
	kept := nobodys
	for _, e := range entries {
		switch name := e.Name(); {
		case name == provisionFile, files.Temp(name):
			kept = true
		case name == disk.FileName && nobodys:
		case name != api.LockFile && name != newDisk:
			return nil
		}
	}
	if err == nil && kept {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("forget the set-up: %w", err)
	}
	return nil
}

// provisionText is what was kept, if it still is what the journal knows.
func (w *World) provisionText(ref actors.Ref, p fsm.Provision) ([]byte, error) {
	path := filepath.Join(w.place(ref).Dir, provisionFile)
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > guestwire.MaxScript) {
		err = fmt.Errorf("%s: no file of at most %d bytes", path, guestwire.MaxScript)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != p.Digest {
		return nil, fmt.Errorf("%s is not what the machine was created with: its SHA-256 is not %s", path, p.Digest)
	}
	return text, nil
}

// seedSecrets are a machine's user-data, as its cloud-init wants them.
func (w *World) seedSecrets(ref actors.Ref, p fsm.Provision) ([]boot.Secret, error) {
	text, err := w.provisionText(ref, p)
	if err != nil {
		return nil, fmt.Errorf("user-data: %w", err)
	}
	meta := "instance-id: " + ref.ID + "\nlocal-hostname: " + ref.Name + "\n"
	return []boot.Secret{{Name: secretMetaData, Data: []byte(meta)}, {Name: secretUserData, Data: text}}, nil
}

// Provision implements actors.Provisions. What can't change by asking again is a
// result.
func (w *World) Provision(ctx context.Context, ref actors.Ref, p fsm.Provision) (fsm.ProvisionedFact, error) {
	ask := guest.Provision{Key: string(p.Kind) + "-" + strconv.Itoa(p.Round), Timeout: p.Timeout}
	if p.Kind == fsm.ProvisionScript {
		text, err := w.provisionText(ref, p)
		if err != nil {
			return fsm.ProvisionedFact{Error: oneLine(err.Error())}, nil
		}
		ask.Script, ask.Key = text, p.Digest+"-"+strconv.Itoa(p.Round)
	}
	c, err := guest.Connect(ctx, w.dialer(ref))
	if err != nil {
		return fsm.ProvisionedFact{}, err
	}
	defer func() { _ = c.Close() }()
	out := &splitLog{path: filepath.Join(w.place(ref).Dir, provisionLog)}
	got, err := c.Provision(ctx, ask, out)
	if closeErr := out.close(); closeErr != nil {
		w.Logger.Warn("set-up's output", "machine", ref.Name, "err", closeErr)
	}
	if errors.Is(err, guest.ErrUnable) || errors.Is(err, guest.ErrProtocol) {
		return fsm.ProvisionedFact{Error: oneLine(err.Error())}, nil
	}
	if err != nil {
		return fsm.ProvisionedFact{}, err
	}
	f := fsm.ProvisionedFact{
		Status: got.Status, Signal: got.Signal, TimedOut: got.TimedOut, Interrupted: got.Interrupted, Error: oneLine(got.Error), Took: got.Took,
	}
	if !f.OK() {
		f.Tail = lastLines(strings.ToValidUTF8(string(got.Tail), "\uFFFD"))
		f.Error += remedy(f.Error)
	}
	return f, nil
}

// remedy says what a person can do about an image that does not take user-data.
func remedy(err string) string {
	if strings.HasSuffix(err, "no cloud-init") || strings.HasSuffix(err, "disabled") {
		return ": create the machine of an image that has it, or with --provision SCRIPT"
	}
	return ""
}

// oneLine is what a guest says, fit for a record.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// splitLog is a file that is begun anew with the first byte, and whose older half
// moves aside.
type splitLog struct {
	path string
	f    *os.File
	size int
}

// Write implements io.Writer.
func (l *splitLog) Write(b []byte) (int, error) {
	if l.f == nil || l.size >= provisionLogHalf {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.Write(b)
	l.size += n
	return n, err
}

func (l *splitLog) next() error {
	old := l.path + ".1"
	if l.f == nil {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := errors.Join(l.close(), os.Rename(l.path, old)); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	l.f, l.size = f, 0
	return err
}

func (l *splitLog) close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}
