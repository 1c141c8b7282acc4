package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

// What is known of cloud-init: where it is, and what it leaves.
var cloudInits = []string{"usr/bin/cloud-init", "bin/cloud-init", "usr/local/bin/cloud-init"}

const (
	cloudSeed     = "var/lib/cloud/seed/nocloud"
	cloudResult   = "run/cloud-init/result.json" // a link, mostly
	cloudData     = "var/lib/cloud/data"         // where it leads to
	cloudDisabled = "run/cloud-init/disabled"
	cloudOutput   = "var/log/cloud-init-output.log"
)

// hasCloudInit tells whether the image at root can make use of user-data.
func hasCloudInit(root string) bool {
	for _, path := range cloudInits {
		if info, err := os.Stat(filepath.Join(root, path)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// awaitCloudInit waits until cloud-init is through with this boot. The init
// starts it; that we only watch.
func (a *Agent) awaitCloudInit(limited, life context.Context, s *provisioning) (*wire.ProvisionDone, error) {
	root := a.provisions.root
	if !hasCloudInit(root) {
		return &wire.ProvisionDone{Error: "the image has no cloud-init"}, nil
	}
	var done *wire.ProvisionDone
	err := awaitFiles(limited, func() (bool, error) {
		done = cloudInitDone(root)
		return done != nil, nil
	}, filepath.Join(root, filepath.Dir(cloudResult)), filepath.Join(root, cloudData))
	switch {
	case life.Err() != nil && err != nil:
		return nil, errGoingDown
	case limited.Err() != nil && err != nil:
		done = &wire.ProvisionDone{TimedOut: true, Error: "cloud-init was not through in time"}
	case err != nil:
		return nil, err
	}
	_ = s.output.add(lastBytes(filepath.Join(root, cloudOutput), outputMost))
	done.Tail = s.output.tail(wire.MaxTail)
	return done, nil
}

// cloudInitDone is how cloud-init ended, nil where it has not.
func cloudInitDone(root string) *wire.ProvisionDone {
	if _, err := os.Lstat(filepath.Join(root, cloudDisabled)); err == nil {
		return &wire.ProvisionDone{Error: "cloud-init is there, and the image has it disabled"}
	}
	f, err := os.Open(filepath.Join(root, cloudResult))
	if err != nil {
		return nil
	}
	defer f.Close()
	var said struct {
		V1 struct {
			Errors []string `json:"errors"`
		} `json:"v1"`
	}
	text, err := io.ReadAll(io.LimitReader(f, maxResult))
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	switch {
	case err != nil:
		return &wire.ProvisionDone{Status: 1, Error: "cloud-init's result can't be read: " + err.Error()}
	case len(said.V1.Errors) > 0:
		return &wire.ProvisionDone{Status: 1, Error: "cloud-init: " + strings.Join(said.V1.Errors, "; ")}
	}
	return &wire.ProvisionDone{}
}

// lastBytes is the end of a file, nothing where there is none.
func lastBytes(path string, most int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil
	}
	return text
}

// seed is what a machine's cloud-init is to find, at its first boot.
type seed struct{ metaData, userData []byte }

// Where the initramfs has it.
const (
	seedDir      = "/arcbox"
	seedMetaData = "seed-meta-data"
	seedUserData = "seed-user-data"
)

// takeSeed reads the seed, where there is one, and removes it: it may hold
// secrets.
func takeSeed(dir string) (s seed, err error) {
	for name, to := range map[string]*[]byte{seedMetaData: &s.metaData, seedUserData: &s.userData} {
		path := filepath.Join(dir, name)
		text, readErr := os.ReadFile(path)
		if errors.Is(readErr, fs.ErrNotExist) {
			continue
		}
		*to = text
		err = errors.Join(err, readErr, os.Remove(path))
	}
	return s, err
}

// write puts it where cloud-init looks without a network.
func (s seed) write(root string) error {
	if len(s.userData) == 0 || !hasCloudInit(root) {
		return nil
	}
	dir := filepath.Join(root, cloudSeed)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	to := identity{root: root}
	return errors.Join(
		to.put(filepath.Join(cloudSeed, "meta-data"), string(s.metaData), 0o600),
		to.put(filepath.Join(cloudSeed, "user-data"), string(s.userData), 0o600),
	)
}
