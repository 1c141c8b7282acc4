package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/archive"
)

// In an archive a spec has the keys of a machine file, that is, create's flags: so
// it is read back, checked and overruled by what reads those.

// archivedSpec is a machine's spec. Its set-up is not in it: that was done, and is
// on the disk.
func archivedSpec(s *wire.Spec) (json.RawMessage, error) {
	out := map[string]any{"cpus": s.GetCpus(), "memory": exactSize(s.GetMemory())}
	texts := map[string]string{
		"image": s.GetImageName(), "kernel": s.GetKernel(), "initrd": s.GetInitrd(), "cmdline": s.GetCmdline(), "backend": s.GetBackend(),
		"restart": s.GetRestart(), "accel": s.GetAccel(), "machine": s.GetBoard(), "arch": s.GetArch(), "script": s.GetScript(), "network": s.GetNetwork(), "egress": s.GetEgress(), "vsock": s.GetVsock(),
	}
	if s.GetNetwork() == "" && s.GetBackend() != "sim" {
		texts["network"] = "none"
	}
	if s.GetImage() != "" {
		out["disk"] = exactSize(s.GetDisk())
	}
	for key, text := range texts {
		if text != "" {
			out[key] = text
		}
	}
	for key, on := range map[string]bool{"auto-ports": s.GetAutoPorts(), "rosetta": s.GetRosetta()} {
		if on {
			out[key] = true
		}
	}
	for key, list := range archivedLists(s) {
		if len(list) > 0 {
			out[key] = list
		}
	}
	return json.Marshal(out)
}

func archivedLists(s *wire.Spec) map[string][]string {
	out := map[string][]string{}
	for _, p := range s.GetPorts() {
		switch text := p.GetListen() + ":" + p.GetTo(); p.GetProtocol() {
		case "unix":
			out["socket"] = append(out["socket"], text+ifSet(p.GetIn(), ":in"))
		case "tcp":
			out["port"] = append(out["port"], text)
		default:
			out["port"] = append(out["port"], text+"/"+p.GetProtocol())
		}
	}
	for _, v := range s.GetShares() {
		out["volume"] = append(out["volume"], v.GetHost()+":"+v.GetGuest()+ifSet(v.GetWritable(), ":rw"))
	}
	for _, b := range s.GetBlocks() {
		out["block"] = append(out["block"], b.GetPath()+ifSet(b.GetReadOnly(), ":ro"))
	}
	for _, key := range slices.Sorted(maps.Keys(s.GetLabels())) {
		value := s.GetLabels()[key]
		out["label"] = append(out["label"], key+ifSet(value != "", "="+value))
	}
	return out
}

// exactSize is a size that parseSize reads back: a bare number would be MiB.
func exactSize(n int64) string {
	if n%1024 == 0 {
		return formatSize(n)
	}
	return new(big.Rat).SetFrac64(n, 1024).FloatString(10) + "K"
}

// What is done with the keys of an archive: the first are taken over; the second are
// of the other host, and have to be said again; with any other the archive is refused.
var (
	archivedKeys = []string{"cpus", "memory", "image", "disk", "cmdline", "backend", "restart", "accel", "machine", "arch", "script", "network", "egress", "label"}
	hostKeys     = []string{"port", "auto-ports", "socket", "volume", "block", "kernel", "initrd", "rosetta", "vsock"}
)

// archivedFile is an archive's spec as a machine file.
type archivedFile struct {
	text []byte
	from string
	left []string // flags that would say what is not taken over
}

// readArchived reads the spec of an archive.
func readArchived(m archive.Manifest, from string) (*archivedFile, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(m.Spec, &keys); err != nil {
		return nil, badArchive(from, fmt.Errorf("%w: its spec: %w", archive.ErrFormat, err))
	}
	f := &archivedFile{from: from}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case slices.Contains(hostKeys, key):
			f.left = append(f.left, flagsFor(key, keys[key])...)
			delete(keys, key)
		case !slices.Contains(archivedKeys, key):
			return nil, badArchive(from, fmt.Errorf("%w: its spec says %.40q, which this arcbox does not know", archive.ErrNewer, key))
		}
	}
	if m.Image == nil {
		delete(keys, "image")
		delete(keys, "disk")
	} else if keys["image"] == nil { // it was asked for by its digest
		text, err := json.Marshal(m.Image.Digest)
		if err != nil {
			return nil, err
		}
		keys["image"] = text
	}
	text, err := json.Marshal(keys)
	f.text = text
	return f, err
}

// said takes out of what is left the flags that are on the command line.
func (f *archivedFile) said(typed []string) {
	f.left = slices.DeleteFunc(f.left, func(flag string) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), " ")
		return slices.Contains(typed, name)
	})
}

// flagsFor are the flags that would say what an archive says.
func flagsFor(key string, value json.RawMessage) []string {
	var list []string
	if json.Unmarshal(value, &list) != nil {
		list = []string{""}
		if json.Unmarshal(value, &list[0]) != nil {
			return []string{"--" + key}
		}
	}
	for i, text := range list {
		list[i] = "--" + key + " " + shorten(text, 200)
	}
	return list
}

// takeArchived fills the flags that are not on the command line from an archive.
func (s *specFlags) takeArchived(cmd *cobra.Command) error {
	s.file = &machineFile{path: s.archived.from, dir: string(filepath.Separator), lines: map[string]int{}}
	top, err := s.file.parse(s.archived.text)
	if err != nil {
		return err
	}
	return s.takeAll(cmd, top)
}

// takeAll takes all keys and values of a file.
func (s *specFlags) takeAll(cmd *cobra.Command, top []*yaml.Node) error {
	for i := 0; i < len(top); i += 2 {
		if err := s.take(cmd, top[i], top[i+1]); err != nil {
			return s.place(err)
		}
	}
	return nil
}

// badArchive says of which file an error is.
func badArchive(from string, err error) error {
	f := &failure{code: exitGeneral, kind: "failed", field: "file", cause: err}
	f.message = fmt.Sprintf("%s: %s", from, strings.TrimPrefix(err.Error(), "archive: "))
	switch {
	case errors.Is(err, archive.ErrNewer):
		f.hint = "arcbox version"
	case errors.Is(err, archive.ErrFormat):
		f.hint = "arcbox export writes such a file; an archive of a root file system is for arcbox image import"
	case errors.Is(err, archive.ErrDamaged):
		f.hint = "copy it again from where it was exported to, or export it again"
	default:
		return err
	}
	return f
}
