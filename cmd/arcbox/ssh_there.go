package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	whole "github.com/arcboxlabs/arcbox-engine/guest/files"
)

// sshWay is how ssh gets to the machines of one engine.
type sshWay struct {
	suffix string // behind a machine's name where ssh takes it for a host's
	config string // the file of ssh-config --install
	keys   string // directory with one of keys for each of those hosts
	proxy  string // what ssh runs, but for the host
	pipe   bool   // it carries the bytes, instead of handing a connection over
}

// sshWay is that of the engine that was chosen. Keys of machines elsewhere are
// borrowed, and kept beside what is known of their engine.
func (a *app) sshWay() (sshWay, error) {
	p, err := a.choice()
	if err != nil {
		return sshWay{}, err
	}
	if p.remote == nil {
		h, err := a.home()
		if err != nil {
			return sshWay{}, err
		}
		return wayHere(h)
	}
	path, err := a.contextsFile()
	if err != nil {
		return sshWay{}, err
	}
	name, keys := strings.ToLower(p.name), filepath.Join(filepath.Dir(path), "ssh")
	w := sshWay{suffix: "." + name + sshSuffix, config: filepath.Join(keys, name+".config"), keys: keys, pipe: true}
	w.proxy, err = proxyBy(keys, " --context "+name)
	if set := a.env("XDG_CONFIG_HOME"); set != "" { // ssh may be run where it says something else
		w.proxy = "env XDG_CONFIG_HOME=" + shellWord(set) + " " + w.proxy
	}
	return w, err
}

// wayHere is that of this host's engine.
func wayHere(h home.Home) (w sshWay, err error) {
	w = sshWay{suffix: sshSuffix, config: filepath.Join(h.SSH(), "config"), keys: h.SSH()}
	which := ""
	if h.Root != "" {
		which = " --home " + shellWord(h.Root)
	}
	w.proxy, err = proxyBy(h.SSH()+h.Root, which)
	return w, err
}

// proxyBy is this arcbox as ssh's configuration names it.
func proxyBy(paths, flags string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find arcbox itself: %w", err)
	}
	if strings.ContainsAny(paths+self, "\"\n\\") {
		return "", badInput("home", "%q: ssh's configuration takes a path without quotation marks, backslashes and line breaks only", shorten(paths, 200))
	}
	return shellWord(self) + flags, nil
}

// host is a machine's name as ssh has it: in small letters.
func (w sshWay) host(machine string) string { return strings.ToLower(machine) + w.suffix }

// borrowKeys brings the keys of a machine elsewhere; on its own host they are there.
func (a *app) borrowKeys(ctx context.Context, e engine, w sshWay, machine string) error {
	if !w.pipe {
		return nil
	}
	keys, err := ask[*wire.LoginKeys](ctx, e, &wire.LendKeys{Request: request(), Name: machine})
	if err != nil {
		return err
	}
	dir := filepath.Join(w.keys, w.host(machine))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keys of %s: %w", machine, err)
	}
	for name, data := range map[string][]byte{keyLogin: keys.GetLogin(), keyKnown: keys.GetKnownHosts()} {
		if err := whole.Replace(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("keys of %s: %w", machine, err)
		}
	}
	return nil
}

// The files of a machine's keys.
const (
	keyLogin = "id_ed25519"
	keyKnown = "known_hosts"
)
