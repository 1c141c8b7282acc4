package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sampleSpec() hv.Spec {
	return hv.Spec{
		Version: hv.SpecVersion, Machine: "01939d5e-7c00-7000-8000-000000000001", Name: "default",
		Launch: "l", CID: 3, Backend: hv.BackendQEMU, Accel: hv.AccelTCG, CPUs: 2, Memory: 4096 << 20,
		Kernel: "/boot/vmlinux", Initrd: "/m/initrd", Cmdline: "arcbox.name=default",
		TokenFile: "/m/token", Dir: "/m", RunDir: "/run/m",
	}
}

func TestCmdlineGolden(t *testing.T) {
	for name, change := range map[string]func(*hv.Spec){
		"tcg": func(*hv.Spec) {},
		"kvm": func(s *hv.Spec) { s.Accel = hv.AccelKVM },
		"odd": func(s *hv.Spec) {
			s.QEMU, s.Initrd, s.Cmdline = "/opt/qemu,7/bin/qemu", "", "  "
			s.Machine, s.Name = "not-a-uuid", "x,process=init\n-snapshot"
			s.CPUs, s.Memory = 1, 64<<20+1
		},
		"microvm": func(s *hv.Spec) {
			s.Version, s.Board, s.TSCKHz = hv.SpecVersionBoards, hv.BoardMicroVM, 2596122
		},
		"arm64":     func(s *hv.Spec) { s.Version, s.Arch = hv.SpecVersionArch, hv.ArchARM64 },
		"arm64-kvm": func(s *hv.Spec) { s.Version, s.Arch, s.Accel = hv.SpecVersionArch, hv.ArchARM64, hv.AccelKVM },
		"kernel-vsock": func(s *hv.Spec) {
			s.Version, s.Vsock = hv.SpecVersionVsock, hv.VsockKernel
		},
		"saved": func(s *hv.Spec) {
			s.Version, s.Board, s.Saved = hv.SpecVersionSaved, hv.BoardMicroVM, "/m/saved"
		},
		"nic": func(s *hv.Spec) {
			s.Version = hv.SpecVersionNIC
			s.Disks = []hv.Disk{{Path: "/m/data.img", Serial: "arcbox-data"}}
			s.NIC = &hv.NIC{MAC: "52:00:00:00:00:01", MTU: 65520, Socket: "/run/m/n.sock"}
		},
		"disks": func(s *hv.Spec) {
			s.Version = hv.SpecVersionDisks
			s.Disks = []hv.Disk{{Path: "/i/0f3a.erofs", ReadOnly: true, Serial: "arcbox-root"}, {Path: `/m, "x"/data.img`, Serial: "arcbox-data"}, {Path: "/dev/sdz", Device: true, Serial: "block1"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sampleSpec()
			change(&s)
			argv, err := Cmdline(s)
			if err != nil {
				t.Fatal(err)
			}
			got, file := strings.Join(argv, "\n")+"\n", filepath.Join("testdata", name+".argv")
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
				t.Errorf("the command line changed; go test ./hv/qemu -update accepts it (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCmdlineRefuses(t *testing.T) {
	for says, spoil := range map[string]func(*hv.Spec){
		"cid 2":                              func(s *hv.Spec) { s.CID = 2 },
		"cpus 0":                             func(s *hv.Spec) { s.CPUs = 0 },
		"cpus 256: at most 255":              func(s *hv.Spec) { s.CPUs = 256 },
		"memory 1 bytes":                     func(s *hv.Spec) { s.Memory = 1 },
		`backend "vz"`:                       func(s *hv.Spec) { s.Backend = hv.BackendVZ },
		`accel "auto"`:                       func(s *hv.Spec) { s.Accel = hv.AccelAuto },
		`kernel "vmlinuz": an absolute path`: func(s *hv.Spec) { s.Kernel = "vmlinuz" },
		`initrd "-x": an absolute path`:      func(s *hv.Spec) { s.Initrd = "-x" },
		"one line without NUL":               func(s *hv.Spec) { s.Cmdline = "a\nb" },
		"at most 2047":                       func(s *hv.Spec) { s.Cmdline = strings.Repeat("x", 2048) },
		"version 2 says what they are":       func(s *hv.Spec) { s.Disks = []hv.Disk{{Path: "/d", Serial: "d"}} },
		"version 10: this VM host":           func(s *hv.Spec) { s.Version = 10 },
		"version 5 says what they are":       func(s *hv.Spec) { s.Version, s.Shares = 4, []hv.Share{{Tag: "a", Path: "/a"}} },
		"share tag \"a\": 1 to 32 letters": func(s *hv.Spec) {
			s.Version, s.Shares = 5, []hv.Share{{Tag: "a", Path: "/a"}, {Tag: "a", Path: "/b"}}
		},
		"spec share \"/a/../b\"":                 func(s *hv.Spec) { s.Version, s.Shares = 5, []hv.Share{{Tag: "a", Path: "/a/../b"}} },
		"version 3 says what that is":            func(s *hv.Spec) { s.Board = hv.BoardQ35 },
		`board "pc": q35, microvm or virt`:       func(s *hv.Spec) { s.Version, s.Board = hv.SpecVersionBoards, "pc" },
		"version 7 says what that is":            func(s *hv.Spec) { s.Arch = hv.ArchARM64 },
		`architecture "vax": amd64 or arm64`:     func(s *hv.Spec) { s.Version, s.Arch = hv.SpecVersionArch, "vax" },
		`board "q35": an arm64 guest has a virt`: func(s *hv.Spec) { s.Version, s.Arch, s.Board = hv.SpecVersionArch, hv.ArchARM64, hv.BoardQ35 },
		`board "virt": an amd64 guest has a q35`: func(s *hv.Spec) { s.Version, s.Arch, s.Board = hv.SpecVersionArch, hv.ArchAMD64, hv.BoardVirt },
		"version 8 says what that is":            func(s *hv.Spec) { s.Vsock = hv.VsockKernel },
		`vsock "host": user or kernel`:           func(s *hv.Spec) { s.Version, s.Vsock = hv.SpecVersionVsock, "host" },
		`backend "sim" has none`: func(s *hv.Spec) {
			s.Version, s.Vsock, s.Backend = hv.SpecVersionVsock, hv.VsockKernel, hv.BackendSim
		},
		`saved "s": an absolute path`:   func(s *hv.Spec) { s.Version, s.Saved = hv.SpecVersionSaved, "s" },
		"with a saved guest: version 9": func(s *hv.Spec) { s.Saved = "/m/saved" },
		`disk "d": an absolute path`:    withDisks(hv.Disk{Path: "d", Serial: "d"}),
		`serial "d,drive=x"`:            withDisks(hv.Disk{Path: "/d", Serial: "d,drive=x"}),
		`serial "d": 1 to 20`:           withDisks(hv.Disk{Path: "/d", Serial: "d"}, hv.Disk{Path: "/e", Serial: "d"}),
		"disks: 17, at most 16":         withDisks(make([]hv.Disk, 17)...),
	} {
		s := sampleSpec()
		spoil(&s)
		if _, err := Cmdline(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one with %q", err, says)
		}
	}
}

func withDisks(disks ...hv.Disk) func(*hv.Spec) {
	return func(s *hv.Spec) { s.Version, s.Disks = hv.SpecVersionDisks, disks }
}

// Whatever a machine is called and told, it adds no argument and no option.
func TestCmdlineHasAFixedShape(t *testing.T) {
	plain, err := Cmdline(sampleSpec())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := sampleSpec()
		s.Name = rapid.String().Draw(t, "name")
		s.Machine = rapid.StringN(1, -1, -1).Draw(t, "machine")
		s.Cmdline = rapid.StringMatching(`[ -~]{0,200}`).Draw(t, "cmdline")
		s.CPUs = rapid.IntRange(1, maxCPUs).Draw(t, "cpus")
		s.Memory = rapid.Int64Range(64<<20, 1<<50).Draw(t, "memory")
		argv, err := Cmdline(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(argv) != len(plain) {
			t.Fatalf("%d arguments, not %d", len(argv), len(plain))
		}
		for i, a := range argv {
			if strings.HasPrefix(plain[i], "-") && a != plain[i] {
				t.Fatalf("argument %d is %q, not %q", i, a, plain[i])
			}
			if plain[i-min(i, 1)] == "-name" && strings.ContainsAny(a, ",\n ") {
				t.Fatalf("name argument %q", a)
			}
		}
	})
}
