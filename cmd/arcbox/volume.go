package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const volumeForm = "HOST:GUEST or HOST:GUEST:rw, two directories, that of the guest absolute"

// parseVolumes reads -v HOST:GUEST[:rw], once for each share. The engine gets the
// directories by names that no link can lead elsewhere later.
func parseVolumes(texts []string, far bool) ([]*wire.Share, error) {
	var out []*wire.Share
	for _, text := range texts {
		s, err := parseVolume(text, far)
		if err != nil {
			return nil, badInput("volume", "--volume %q: %v", shorten(text, 200), err)
		}
		for _, o := range out {
			if o.GetGuest() == s.GetGuest() {
				return nil, badInput("volume", "--volume %q: %s of the guest has one already", shorten(text, 200), s.GetGuest())
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func parseVolume(text string, far bool) (*wire.Share, error) {
	rest, writable := strings.CutSuffix(text, ":rw")
	if !writable {
		rest = strings.TrimSuffix(rest, ":ro")
	}
	at := strings.LastIndex(rest, ":")
	if at < 1 || at == len(rest)-1 {
		return nil, errors.New(volumeForm)
	}
	guest := rest[at+1:]
	if !path.IsAbs(guest) {
		return nil, fmt.Errorf("%s is no absolute path: %s", guest, volumeForm)
	}
	host, err := hostPath(rest[:at], far)
	if err != nil {
		return nil, err
	}
	if !far {
		if host, err = ownDirectory(host); err != nil {
			return nil, fmt.Errorf("a directory of this host is needed: %w", rootCause(err))
		}
	}
	return &wire.Share{Host: host, Guest: path.Clean(guest), Writable: writable}, nil
}

// ownDirectory is a directory of this host by the name that no link stands for.
func ownDirectory(name string) (string, error) {
	host, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(host)
	if err == nil && !info.IsDir() {
		err = errors.New("this is none")
	}
	return host, err
}

// completeVolume offers directories, for the part before the colon.
func completeVolume(_ *cobra.Command, _ []string, part string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(part, ":") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs | cobra.ShellCompDirectiveNoSpace
}

// volumeFacts are what inspect shows of a machine's shares.
func volumeFacts(m *wire.Machine) []fact {
	var facts []fact
	for _, s := range m.GetShares() {
		how := "read only"
		if s.GetShare().GetWritable() {
			how = "read and write"
		}
		text := fmt.Sprintf("%s → %s (%s)", s.GetShare().GetHost(), s.GetShare().GetGuest(), how)
		facts = append(facts, fact{"share", because(text, s.GetError())})
	}
	return facts
}

type shareJSON struct {
	Host     string `json:"host"`
	Guest    string `json:"guest"`
	Writable bool   `json:"writable"`
	Mounted  bool   `json:"mounted"`
	Error    string `json:"error,omitempty"`
}

func sharesView(m *wire.Machine) []shareJSON {
	var out []shareJSON
	for _, s := range m.GetShares() {
		out = append(out, shareJSON{s.GetShare().GetHost(), s.GetShare().GetGuest(), s.GetShare().GetWritable(), s.GetError() == "", s.GetError()})
	}
	return out
}
