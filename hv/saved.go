package hv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// StageSuffix is how the name of a saved guest goes on that is not whole yet.
const StageSuffix = ".new"

// ConfigSuffix is how the name of a file goes on that a driver may keep beside a saved guest.
const ConfigSuffix = ".config"

// SavedStage is where a driver writes a guest that becomes the one at path when it is
// whole (KeepSaved). Nothing is there any more.
func SavedStage(path string) (string, error) {
	stage := path + StageSuffix
	if err := os.Remove(stage); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("hv: saved guest: %w", err)
	}
	return stage, nil
}

// KeepSaved makes what was staged the saved guest at path, for good. After an error there
// is none.
func KeepSaved(stage *os.File, path string) error {
	err := stage.Sync()
	if err == nil {
		err = os.Rename(stage.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("hv: saved guest: %w", errors.Join(err, os.Remove(stage.Name())))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("hv: saved guest: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// DropSaved removes a saved guest for good, before it goes on: it is good once.
func DropSaved(path string) error {
	if err := errors.Join(os.Remove(path), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("hv: saved guest: %w", err)
	}
	return nil
}

// savedPace is how fast a saved guest is read at least, in bytes a second.
const savedPace = 16 << 20

// SavedTime is how long the saved guest at path may take to be read; "" = there is none.
func SavedTime(path string) time.Duration {
	info, err := os.Stat(path)
	if path == "" || err != nil {
		return 0
	}
	return time.Duration(info.Size()/savedPace) * time.Second
}

// syncDir makes a rename or a removal last.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
