package hosts

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/arcboxlabs/arcbox-engine/actors"
	"github.com/arcboxlabs/arcbox-engine/guest/boot"
)

func keyWorld(t *testing.T) (*World, actors.Ref, string) {
	t.Helper()
	root := t.TempDir()
	w := New(Options{
		Machines: filepath.Join(root, "machines"), Run: filepath.Join(root, "run"), SSH: filepath.Join(root, "ssh"),
		Logger: slog.New(slog.DiscardHandler),
	})
	ref := actors.Ref{ID: "01990000-0000-7000-8000-000000000001", Name: "Web", RunTag: "t"}
	dir := filepath.Join(w.Machines, ref.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return w, ref, dir
}

func secrets(t *testing.T, w *World, ref actors.Ref) []boot.Secret {
	t.Helper()
	s, err := w.sshSecrets(ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysAreAMachinesForEver(t *testing.T) {
	w, ref, dir := keyWorld(t)
	first := secrets(t, w, ref)
	if again := secrets(t, w, ref); !bytes.Equal(first[0].Data, again[0].Data) || !bytes.Equal(first[1].Data, again[1].Data) {
		t.Error("they change from launch to launch")
	}
	host, err := ssh.ParsePrivateKey(first[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(filepath.Join(w.SSH, "web.arcbox", keyKnownHosts))
	if err != nil {
		t.Fatal(err)
	}
	if want := "arcbox " + string(ssh.MarshalAuthorizedKey(host.PublicKey())); string(known) != want {
		t.Errorf("known_hosts %q, want %q", known, want)
	}
	user, err := os.ReadFile(filepath.Join(dir, keyDir, keyUserPublic))
	if err != nil || !strings.HasPrefix(string(user), strings.TrimSpace(string(first[1].Data))) {
		t.Errorf("public key %q, %v: another is let in", user, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, keyDir))
	if err != nil || len(entries) != 4 {
		t.Errorf("files: %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, keyDir)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
}

// TestKeysForAnotherHost: they are found by the machine's name, in any case.
func TestKeysForAnotherHost(t *testing.T) {
	w, ref, dir := keyWorld(t)
	if _, _, err := LoginKeys(w.SSH, "WEB"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a machine without: %v", err)
	}
	secrets(t, w, ref)
	login, known, err := LoginKeys(w.SSH, "WEB")
	want, readErr := os.ReadFile(filepath.Join(dir, keyDir, keyUser))
	if err != nil || readErr != nil || !bytes.Equal(login, want) || !bytes.HasPrefix(known, []byte("arcbox ssh-ed25519 ")) {
		t.Errorf("%q, %q, %v, %v", login, known, err, readErr)
	}
}

func TestDamagedKeysAreMadeAnew(t *testing.T) {
	for _, name := range []string{keyHost, keyUser, keyKnownHosts} {
		w, ref, dir := keyWorld(t)
		secrets(t, w, ref)
		if err := os.Truncate(filepath.Join(dir, keyDir, name), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, keyDir+keyNewSuffix), 0o700); err != nil { // of an engine that was killed
			t.Fatal(err)
		}
		secrets(t, w, ref)
		if known, err := os.ReadFile(filepath.Join(dir, keyDir, keyKnownHosts)); err != nil || len(known) == 0 {
			t.Errorf("%s cut: %q, %v", name, known, err)
		}
	}
}

func TestKeyLinksFollowNames(t *testing.T) {
	w, old, _ := keyWorld(t)
	secrets(t, w, old)
	link := filepath.Join(w.SSH, "web.arcbox")
	next := old
	next.ID = "01990000-0000-7000-8000-000000000002"
	if err := os.MkdirAll(filepath.Join(w.Machines, next.ID), 0o700); err != nil {
		t.Fatal(err)
	}
	secrets(t, w, next)
	secrets(t, w, actors.Ref{ID: next.ID, Name: "shop", RunTag: "t"})
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("a renamed machine's old link is left: %v", err)
	}
	secrets(t, w, next)
	if err := w.Delete(t.Context(), old, nil); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || !strings.Contains(to, next.ID) {
		t.Errorf("link to %q, %v: the next machine of that name has lost its own", to, err)
	}
	if err := w.Delete(t.Context(), next, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("a removed machine's link is left: %v", err)
	}
}
