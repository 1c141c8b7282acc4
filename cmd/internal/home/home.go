package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Var is the environment variable that puts everything under one directory.
const Var = "ARCBOX_HOME"

// Limits of a socket's path. macOS takes 104 bytes with the final zero, Linux
// 108; the smaller holds everywhere, so that a home can be moved.
const (
	maxSocketPath = 103
	// machineRoom is kept free for what a machine adds below the run
	// directory: a short tag and the name of a socket.
	machineRoom = len("/m/0123456789ab/vsock.sock")
)

// ErrNoHome means that neither ARCBOX_HOME nor HOME says where to put things.
var ErrNoHome = errors.New("home: neither ARCBOX_HOME nor HOME is set; set ARCBOX_HOME to a directory of your own")

// Home is where one engine's things lie. All paths are absolute.
type Home struct {
	Root string // ARCBOX_HOME, or "" where the XDG directories are used
	Data string
	Run  string
	Log  string
	// Config is the user's own choices; "" where nothing says where it goes.
	Config string
	boot   []string
}

// Find reads the environment through env (os.Getenv, or a map in tests).
func Find(env func(string) string) (Home, error) {
	h, err := find(env)
	if err != nil {
		return Home{}, err
	}
	return h, h.check()
}

func find(env func(string) string) (Home, error) {
	const system = "/usr/share/arcbox/boot"
	cache, cacheErr := xdg(env, "XDG_CACHE_HOME", ".cache")
	if root := env(Var); root != "" {
		abs, err := filepath.Abs(root)
		if err != nil {
			return Home{}, fmt.Errorf("home: %s %q: %w", Var, root, err)
		}
		h := Home{Root: abs, Data: filepath.Join(abs, "data"), Run: filepath.Join(abs, "run"), Log: filepath.Join(abs, "log"), Config: filepath.Join(abs, "config")}
		h.boot = []string{filepath.Join(abs, "boot")}
		if cacheErr == nil { // without HOME there is no cache, and no need for one
			h.boot = append(h.boot, filepath.Join(cache, "boot"))
		}
		h.boot = append(h.boot, system)
		return h, nil
	}
	data, dataErr := xdg(env, "XDG_DATA_HOME", ".local/share")
	state, stateErr := xdg(env, "XDG_STATE_HOME", ".local/state")
	run, runErr := runDir(env)
	if err := errors.Join(cacheErr, dataErr, stateErr, runErr); err != nil {
		return Home{}, ErrNoHome
	}
	config, _ := xdg(env, "XDG_CONFIG_HOME", ".config") // only choices: everything else does without
	h := Home{Data: data, Run: run, Log: state, Config: config}
	h.boot = []string{filepath.Join(data, "boot"), filepath.Join(cache, "boot"), system}
	return h, nil
}

// xdg is the arcbox directory of an XDG variable, or of its default below HOME.
func xdg(env func(string) string, name, fallback string) (string, error) {
	if dir := env(name); filepath.IsAbs(dir) {
		return filepath.Join(dir, "arcbox"), nil
	}
	if user := env("HOME"); filepath.IsAbs(user) {
		return filepath.Join(user, fallback, "arcbox"), nil
	}
	return "", ErrNoHome
}

func runDir(env func(string) string) (string, error) {
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && own(dir) {
		return filepath.Join(dir, "arcbox"), nil
	}
	if user := env("HOME"); filepath.IsAbs(user) {
		return filepath.Join(user, ".arcbox", "run"), nil
	}
	return "", ErrNoHome
}

func (h Home) check() error {
	for _, dir := range []string{h.Data, h.Run, h.Log} {
		if strings.ContainsAny(dir, "\n\r\x00") {
			return fmt.Errorf("home: %q: a directory without line breaks is needed; set %s", dir, Var)
		}
	}
	if most := maxSocketPath - machineRoom; len(h.Run) > most {
		return fmt.Errorf("home: the socket directory %s has %d bytes: a socket's path is limited to %d, which leaves %d for it; set %s to a shorter path",
			h.Run, len(h.Run), maxSocketPath, most, Var)
	}
	return nil
}

// Socket is where the engine's endpoint listens.
func (h Home) Socket() string { return filepath.Join(h.Run, "engine.sock") }

// Tickets is where one-time tickets are turned into connections.
func (h Home) Tickets() string { return filepath.Join(h.Run, "tickets.sock") }

// Lock is the file that an engine holds locked.
func (h Home) Lock() string { return filepath.Join(h.Data, "engine.lock") }

// Journal is the journal's directory.
func (h Home) Journal() string { return filepath.Join(h.Data, "journal") }

// Clients is the file that says which clients of other hosts may use the engine.
func (h Home) Clients() string { return filepath.Join(h.Data, "clients.json") }

// Machines is the directory with one directory for each machine, named by id.
func (h Home) Machines() string { return filepath.Join(h.Data, "machines") }

// Stages is the directory of disks that came and are no machine's yet.
func (h Home) Stages() string { return filepath.Join(h.Data, "stages") }

// Network is the directory of the network process: its lock and its logs.
func (h Home) Network() string { return filepath.Join(h.Data, "network") }

// Images is the directory of the image store.
func (h Home) Images() string { return filepath.Join(h.Data, "images") }

// Owners is the directory of the files by which commands own machines.
func (h Home) Owners() string { return filepath.Join(h.Run, "owners") }

// SSH is the directory in which a machine's SSH keys are found by its name, and
// ssh's configuration for all of them.
func (h Home) SSH() string { return filepath.Join(h.Data, "ssh") }

// Kernels is the directory of the kernels that were brought in.
func (h Home) Kernels() string { return filepath.Join(h.Data, "kernels") }

// EngineLog is the log of an engine that the CLI started.
func (h Home) EngineLog() string { return filepath.Join(h.Log, "engine.log") }

// BootDirs lists where to look for kernels and initramfs, first match wins.
func (h Home) BootDirs() []string { return append([]string(nil), h.boot...) }

// Boot finds a kernel or an initramfs by its name. The error of a file that is
// nowhere names every place that was looked at.
func (h Home) Boot(name string) (string, error) {
	for _, dir := range h.boot {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("home: %s: not in %s: %w", name, strings.Join(h.boot, ", "), fs.ErrNotExist)
}
