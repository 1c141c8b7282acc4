package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/fsm"
	"github.com/arcboxlabs/arcbox-engine/hv"
)

// checkBlocks refuses disks that a VM host would refuse, while nothing is recorded
// yet. The VM host looks again: it hands on what it opened.
func (w *World) checkBlocks(blocks []fsm.Block) error {
	home, err := filepath.EvalSymlinks(filepath.Dir(w.Machines))
	if err != nil {
		home = filepath.Dir(w.Machines) // nothing can lie there yet
	}
	for _, b := range blocks {
		target, err := filepath.EvalSymlinks(b.Path)
		if err == nil && strings.HasPrefix(target, home+"/") {
			return actors.OwnBlock(b.Path)
		}
		if err == nil {
			err = usable(target, b.ReadOnly)
		}
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err // the path is named already
		}
		if err != nil {
			return &actors.Refusal{Code: wire.Code_CODE_BAD_INPUT, Field: "block", Hint: "ls -lL " + b.Path,
				Message: fmt.Sprintf("block %q: a file or a block device that the engine can use is needed: %v", b.Path, err)}
		}
	}
	return nil
}

// usable tells whether a path is a disk that can be opened. Anything else is not
// opened at all.
func usable(path string, readOnly bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() && !isBlockDevice(info) {
		return errors.New("neither a file nor a block device")
	}
	if info.Mode().IsRegular() && info.Size() == 0 {
		return errors.New("it is empty")
	}
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flags|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func isBlockDevice(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice
}

// withBlocks adds the disks that a machine has beside its own.
func withBlocks(s *hv.Spec, blocks []fsm.Block) {
	for _, b := range blocks {
		s.Version = max(s.Version, hv.SpecVersionDisks)
		info, err := os.Stat(b.Path)
		device := err == nil && isBlockDevice(info) // the VM host says what is wrong otherwise
		s.Disks = append(s.Disks, hv.Disk{Path: b.Path, ReadOnly: b.ReadOnly, Device: device, Serial: b.Serial})
	}
}
