package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// Progress is what boots of a kernel on one board have shown so far, kept so that
// whoever is stopped goes on where it was.
type Progress struct {
	Release  string          `json:"release"`
	Accel    string          `json:"accel"`
	CPUs     int             `json:"cpus"`
	With     string          `json:"with"`
	Times    []time.Duration `json:"times"`
	Hung     int             `json:"hung"`
	Panicked int             `json:"panicked"`
}

// Count is how many boots were made.
func (p Progress) Count() int { return len(p.Times) + p.Hung }

// Boots is what they showed.
func (p Progress) Boots(board string, made time.Time) Boots {
	b := Took(p.Times, p.Hung)
	b.Board, b.Accel, b.CPUs, b.With, b.Panicked, b.Made = board, p.Accel, p.CPUs, p.With, p.Panicked, made.UTC()
	return b
}

// Progress is what was kept of a kernel's boots on a board, empty where that was
// nothing, or what can't be read.
func (s *Store) Progress(name, board string) Progress {
	var p Progress
	data, err := files.Read(s.progressFile(name, board), maxManifest)
	if err != nil || json.Unmarshal(data, &p) != nil || p.Hung < 0 || p.Panicked < 0 || p.Panicked > p.Hung {
		return Progress{} // then they are made again
	}
	return p
}

// KeepProgress keeps it. An empty one leaves nothing.
func (s *Store) KeepProgress(ctx context.Context, name, board string, p Progress) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	path := s.progressFile(name, board)
	if p.Count() == 0 {
		err := os.Remove(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("record boots: %w", err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := files.Replace(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("record boots: %w", err)
	}
	return nil
}

func (s *Store) progressFile(name, board string) string {
	return filepath.Join(s.dir, ".probe-"+name+"-"+board+".json")
}
