package hosts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

func TestKeepKeepsASecret(t *testing.T) {
	w, ref, dir := keyWorld(t)
	text := []byte("#!/bin/sh\necho secret\n")
	if err := w.Keep(t.Context(), ref, text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, provisionFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	sum := sha256.Sum256(text)
	p := fsm.Provision{Kind: fsm.ProvisionUserData, Digest: hex.EncodeToString(sum[:])}
	if got, err := w.provisionText(ref, p); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	seed, err := w.seedSecrets(ref, p)
	if err != nil || len(seed) != 2 || !bytes.Equal(seed[1].Data, text) || string(seed[0].Data) != "instance-id: "+ref.ID+"\nlocal-hostname: Web\n" {
		t.Errorf("%v, %v", seed, err)
	}
	for name, damage := range map[string]func() error{
		"another":  func() error { return os.WriteFile(path, []byte("x"), 0o600) },
		"no file":  func() error { return os.Remove(path) },
		"too long": func() error { return os.WriteFile(path, make([]byte, 1<<20), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got, err := w.provisionText(ref, p); err == nil {
			t.Errorf("%s: %q", name, got)
		}
		f, err := w.Provision(t.Context(), ref, fsm.Provision{Kind: fsm.ProvisionScript, Digest: p.Digest})
		if err != nil || !strings.Contains(f.Error, path) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// TestForgetTakesOnlyWhatKeepLeft: a directory in which there is anything else is
// a machine's.
func TestForgetTakesOnlyWhatKeepLeft(t *testing.T) {
	for name, there := range map[string]struct {
		files []string
		gone  bool
	}{
		"kept":                                 {[]string{provisionFile}, true},
		"kept in part":                         {[]string{".tmp-1"}, true},
		"looked at":                            {[]string{provisionFile, "lock"}, true},
		"nothing":                              {nil, false},
		"only looked at":                       {[]string{"lock"}, false},
		"was started":                          {[]string{provisionFile, "lock", "token"}, false},
		"has a disk":                           {[]string{provisionFile, "data.img"}, false},
		"nobody's disk":                        {[]string{newDisk, "data.img", ".tmp-1", "lock"}, true},
		"a disk, and a write that was cut off": {[]string{".tmp-1", "data.img", "lock"}, false},
	} {
		w, ref, dir := keyWorld(t)
		if err := errors.Join(os.Remove(dir), w.Forget(t.Context(), ref)); err != nil {
			t.Errorf("%s, before there is a directory: %v", name, err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range there.files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Forget(t.Context(), ref); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		left, err := os.ReadDir(dir)
		if gone := errors.Is(err, os.ErrNotExist); gone != there.gone || !gone && len(left) != len(there.files) {
			t.Errorf("%s: %v, %v", name, left, err)
		}
	}
}

func TestSplitLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for range 2 {
		l := &splitLog{path: path}
		for i := range 100 {
			if n, err := l.Write(bytes.Repeat([]byte{byte(i)}, 32<<10)); n != 32<<10 || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
	old, oldErr := os.ReadFile(path + ".1")
	now, err := os.ReadFile(path)
	if oldErr != nil || err != nil || len(old) != provisionLogHalf || len(now) > provisionLogHalf || now[len(now)-1] != 99 {
		t.Errorf("%d and %d bytes, %v, %v", len(old), len(now), oldErr, err)
	}
	short := &splitLog{path: path}
	if _, err := short.Write([]byte("short")); err != nil || short.close() != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); string(text) != "short" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(path + ".1"); err == nil {
		t.Error("an older run's output is left")
	}
}

func TestProvisionTexts(t *testing.T) {
	if got := oneLine("a\x1b[2J\nb\xff"); got != "a [2J b\uFFFD" {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]bool{"the image has no cloud-init": true, "cloud-init is there, and the image has it disabled": true, "": false} {
		if (remedy(text) != "") != want {
			t.Errorf("%q: %q", text, remedy(text))
		}
	}
}
