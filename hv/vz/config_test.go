package vz

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sampleSpec() hv.Spec {
	return hv.Spec{
		Version: hv.SpecVersionArch, Arch: hv.HostArch, Machine: "01939d5e-7c00-7000-8000-000000000001", Name: "default",
		Launch: "l", CID: 3, Backend: hv.BackendVZ, Accel: hv.AccelAuto, CPUs: 2, Memory: 4096 << 20,
		Kernel: "/boot/Image", Initrd: "/m/initrd", Cmdline: "arcbox.name=default",
		TokenFile: "/m/token", Dir: "/m", RunDir: "/run/m",
	}
}

func full(s *hv.Spec) {
	s.Rosetta = true
	s.Disks = []hv.Disk{{Path: "/i/0f3a.erofs", ReadOnly: true, Serial: "arcbox-root"}, {Path: `/m, "x"/data.img`, Serial: "arcbox-data"}}
	s.NIC = &hv.NIC{MAC: "52:00:00:00:00:01", MTU: 65520, Socket: "/run/m/n.sock"}
	s.Shares = []hv.Share{{Tag: "share1", Path: "/Users/me/src"}, {Tag: "share2", Path: "/Users/me/out", Writable: true}}
}

func TestConfigGolden(t *testing.T) {
	for name, change := range map[string]func(*hv.Spec){
		"plain": func(*hv.Spec) {},
		"full":  full,
		"odd": func(s *hv.Spec) {
			s.Initrd, s.Cmdline, s.Accel = "", "  ", ""
			s.CPUs, s.Memory = 1, 64<<20+1
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sampleSpec()
			change(&s)
			c, err := configure(s)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got, file := string(text)+"\n", filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got (go test -update rewrites it):\n%s", diff)
			}
		})
	}
}

func TestConfigRefuses(t *testing.T) {
	for want, change := range map[string]func(*hv.Spec){
		`this driver is "vz"`:              func(s *hv.Spec) { s.Backend = hv.BackendQEMU },
		`accel "kvm"`:                      func(s *hv.Spec) { s.Accel = hv.AccelKVM },
		`architecture "`:                   func(s *hv.Spec) { s.Arch = otherArch() },
		`the framework has one`:            func(s *hv.Spec) { s.Board = boardHere() },
		`kernel "Image": an absolute`:      func(s *hv.Spec) { s.Kernel = "Image" },
		`initrd "x": an absolute`:          func(s *hv.Spec) { s.Initrd = "x" },
		"one line without NUL":             func(s *hv.Spec) { s.Cmdline = "a\nb" },
		"at most 2047":                     func(s *hv.Spec) { s.Cmdline = strings.Repeat("x", 2048) },
		"mtu 576: 1500 to 65535":           func(s *hv.Spec) { full(s); s.NIC.MTU = 576 },
		`disk "/dev/disk9": a block`:       func(s *hv.Spec) { full(s); s.Disks[0] = hv.Disk{Path: "/dev/disk9", Device: true, Serial: "b"} },
		"version 6 says what that is":      func(s *hv.Spec) { full(s); s.Version, s.Arch = hv.SpecVersionShares, "" },
		`rosetta: backend "qemu" has none`: func(s *hv.Spec) { full(s); s.Backend = hv.BackendQEMU },
		`spec share tag "rosetta"`:         func(s *hv.Spec) { full(s); s.Shares[0].Tag = "rosetta" },
	} {
		s := sampleSpec()
		change(&s)
		if _, err := configure(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	l := limits{MinCPUs: 1, MaxCPUs: 8, MinMemory: 4 << 20, MaxMemory: 16 << 30}
	for want, c := range map[string]config{
		"":                                   {CPUs: 8, Memory: 16 << 30},
		"cpus 9: this Mac gives a VM 1 to 8": {CPUs: 9, Memory: 1 << 30},
		"memory 16385 MiB":                   {CPUs: 1, Memory: 16<<30 + 1<<20},
	} {
		if err := l.allow(c); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	for arch, works := range map[hv.Arch]bool{hv.ArchARM64: true, hv.ArchAMD64: false} {
		if err := rosettaHere(config{Rosetta: hv.RosettaTag}, arch); (err == nil) != works {
			t.Errorf("rosetta on %s: %v", arch, err)
		}
	}
}

func TestKernels(t *testing.T) {
	dir := t.TempDir()
	zboot := append([]byte("MZ\x00\x00zimg"), make([]byte, 4096)...)
	for _, k := range []struct {
		arch hv.Arch
		want string
		text []byte
	}{
		{"arm64", "", image("arm64")},
		{"amd64", "", image("amd64")},
		{"arm64", "no Image of an arm64", image("amd64")},
		{"amd64", "no bzImage", image("arm64")},
		{"arm64", "packed with gzip", []byte("\x1f\x8b\x08")},
		{"arm64", "packed EFI image", zboot},
		{"amd64", "no bzImage", []byte("short")},
		{"amd64", "something in it", nil},
	} {
		path := filepath.Join(dir, "kernel")
		if err := os.WriteFile(path, k.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkFiles(config{Kernel: path}, k.arch); (err == nil) != (k.want == "") || err != nil && !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s, %.8q: %v, want %q", k.arch, k.text, err, k.want)
		}
	}
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, image(hv.HostArch), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]config{
		`kernel "` + dir + `"`:    {Kernel: dir},
		`initrd "` + dir + `/no"`: {Kernel: good, Initrd: dir + "/no"},
		`disk "` + dir + `/no"`:   {Kernel: good, Disks: []diskConfig{{Path: dir + "/no"}}},
	} {
		if err := checkFiles(c, hv.HostArch); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// otherArch is what this build is not for.
func otherArch() hv.Arch {
	if hv.HostArch == hv.ArchARM64 {
		return hv.ArchAMD64
	}
	return hv.ArchARM64
}

// boardHere is one that guests of this build's architecture have elsewhere.
func boardHere() hv.Board {
	if hv.HostArch == hv.ArchARM64 {
		return hv.BoardVirt
	}
	return hv.BoardQ35
}

// A spec that names no architecture is of amd64, also on Macs that are not.
func TestSpecWithoutArchitecture(t *testing.T) {
	s := sampleSpec()
	s.Version, s.Arch = hv.SpecVersion, ""
	if _, err := configure(s); (err == nil) != (hv.HostArch == hv.ArchAMD64) {
		t.Error(err)
	}
}
