package vz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// maxConfig bounds what is read of it, in bytes.
const maxConfig = 64 << 10

// Save writes the guest to a file, its config beside it (the framework takes a guest back
// into the VM that it had, and into no other), from a pause of which nobody hears, and ends the VM.
func (v *vm) Save(ctx context.Context, path string) error {
	if err := v.take(ctx); err != nil {
		return err
	}
	defer v.give()
	switch {
	case v.isOver():
		return hv.ErrGone
	case !v.driver.framework.Saves:
		return fmt.Errorf("hv/vz: save: only Macs with Apple silicon can: %w", hv.ErrUnsupported)
	case len(v.config.Shares) > 0 || v.config.Rosetta != "":
		return fmt.Errorf("hv/vz: save: a guest with shares can't be saved: %w", hv.ErrUnsupported)
	case v.machine.May(deedResume):
		return errors.New("hv/vz: save: the guest is held still")
	}
	err := v.still(ctx)
	if err == nil {
		err = v.writeOut(ctx, path)
	}
	if err == nil {
		err = v.endSaved(path)
	}
	switch {
	case err == nil:
		return nil
	case v.isOver():
		return hv.ErrGone
	case errors.Is(err, ErrOldSystem): // it is of macOS 14
		err = errors.Join(err, hv.ErrUnsupported)
	}
	return errors.Join(err, v.goOn())
}

// still holds the guest still, as the framework wants it to save one.
func (v *vm) still(ctx context.Context) error {
	v.hushed(true)
	err := v.do(ctx, deedPause)
	if err != nil { // should it come true later, somebody has to hear of it
		v.hushed(false)
	}
	return err
}

// hushed tells the VM's story whether its next pause is nobody's business.
func (v *vm) hushed(on bool) {
	select {
	case v.hush <- on:
	case <-v.over:
	}
}

// writeOut has the framework write the guest, which it can't be told to leave off, and
// keeps it with its config.
func (v *vm) writeOut(ctx context.Context, path string) error {
	stage, err := hv.SavedStage(path)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- v.machine.Do(deedSave, stage) }()
	select {
	case err = <-done:
		err = explain("save", err, v.driver.program)
	case <-v.over:
		err = hv.ErrGone
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && v.killed.Load() {
		err = errors.New("hv/vz: save: the VM is killed")
	}
	if err == nil {
		err = keep(v.config, stage, path)
	}
	if err != nil {
		return errors.Join(err, drop(stage), drop(path+hv.ConfigSuffix))
	}
	return nil
}

// keep keeps a guest that was written, its config first: without that it is worth nothing.
func keep(c config, stage, path string) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	name, err := hv.SavedStage(path + hv.ConfigSuffix)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = hv.KeepSaved(f, path+hv.ConfigSuffix)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, drop(name))
	}
	state, err := os.OpenFile(stage, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	err = state.Chmod(0o600) // the framework does not ask
	if err == nil {
		err = hv.KeepSaved(state, path)
	}
	return errors.Join(err, state.Close())
}

// drop removes what may not be there.
func drop(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// endSaved ends a VM whose guest is kept.
func (v *vm) endSaved(path string) error {
	v.saved.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	err := v.stop(ctx)
	if err != nil {
		v.saved.Store(false)
		err = errors.Join(err, drop(path), drop(path+hv.ConfigSuffix))
	}
	return err
}

// goOn has a guest that was not saved go on, or ends it where that was asked for meanwhile.
func (v *vm) goOn() error {
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	switch {
	case v.killed.Load():
		return v.stop(ctx)
	case v.machine.May(deedResume):
		return v.do(ctx, deedResume)
	}
	return nil
}

// restore has the guest of an earlier VM go on in this one. The file is good once.
func (v *vm) restore(ctx context.Context) error {
	if err := await(ctx, func() error { return v.machine.Do(deedRestore, v.from) }); err != nil {
		return err
	}
	if err := hv.DropSaved(v.from); err != nil {
		return err
	}
	if err := drop(v.from + hv.ConfigSuffix); err != nil { // it is worth nothing by now
		v.env.Logf("vz: %v", err)
	}
	return await(ctx, func() error { return v.machine.Do(deedResume, "") })
}

// asSaved is the config with which a saved guest can go on: what it was booted with, and
// who it is, are in its file; all else has to be as it was.
func asSaved(c config, path string) (config, error) {
	f, err := os.OpenFile(path+hv.ConfigSuffix, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return config{}, fmt.Errorf("hv/vz: config of the saved guest: %w", err)
	}
	defer func() { _ = f.Close() }() // read-only
	var was config
	if err := json.NewDecoder(io.LimitReader(f, maxConfig)).Decode(&was); err != nil {
		return config{}, fmt.Errorf("hv/vz: config of the saved guest %q: %w", path, err)
	}
	c.Kernel, c.Initrd, c.Cmdline, c.Identity = was.Kernel, was.Initrd, was.Cmdline, was.Identity
	if other := differing(c, was); len(other) > 0 {
		return config{}, fmt.Errorf("hv/vz: the saved guest %q had other %s: it goes on with what it had, or not at all", path, strings.Join(other, ", "))
	}
	return c, nil
}

// differing are the fields in which two configs are not the same, as JSON calls them.
func differing(a, b config) (names []string) {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			name, _, _ := strings.Cut(va.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
