package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Result says with what accelerator this host runs guests, and why.
type Result struct {
	Accel hv.Accel `json:"accel"`
	Note  string   `json:"note"` // a sentence for people
}

// probeTime bounds the probe's guest. Under TCG it takes 0.15 s.
const probeTime = 3 * time.Second

// probeStatus is how QEMU ends when the probe's guest has run: isa-debug-exit
// makes it of the byte that the guest writes.
const probeStatus = probeByte<<1 | 1

const (
	probeByte = 0x2a
	probePort = 0xf4
)

// forkFunc starts a process that dies with this one; see hv.Env.Fork.
type forkFunc func(path string, argv []string, attr *os.ProcAttr) (*os.Process, error)

// Probe finds out whether KVM runs guest code here, by running some: a kernel of
// a few bytes goes the way of every guest, on amd64 through the firmware into long
// mode, and writes a byte to a port. A /dev/kvm that opens, even one that makes VMs,
// proves nothing: nested, an ordinary guest may hang at its first instructions.
// An error means that QEMU itself was not found.
func Probe(ctx context.Context, qemu string) (Result, error) {
	path, err := lookup(qemu, hv.HostArch)
	if err != nil {
		return Result{}, err
	}
	return probe(ctx, "", path, "", forkHere), nil
}

// ProbeCached is Probe with a memory: what a guest has shown holds until the
// host boots anew (bootID) or QEMU's binary changes. A missing /dev/kvm, or one
// that may not be opened, is looked at every time. It always has an answer.
func ProbeCached(ctx context.Context, cacheFile, qemu, bootID string) Result {
	path, err := lookup(qemu, hv.HostArch)
	if err != nil {
		return Result{Accel: hv.AccelTCG, Note: "TCG: " + err.Error()}
	}
	return probe(ctx, cacheFile, path, bootID, forkHere)
}

// probe is ProbeCached for a path that is known. Without a cache file or a boot
// id it remembers nothing.
func probe(ctx context.Context, cacheFile, path, bootID string, fork forkFunc) Result {
	if why := kvmMissing(); why != "" {
		return Result{Accel: hv.AccelTCG, Note: "TCG: " + why}
	}
	key, err := keyOf(path, bootID)
	if err != nil || cacheFile == "" || bootID == "" {
		return probeWith(ctx, fork, path, probeGuestOf(hv.HostArch, "kvm"), "kvm", "host")
	}
	if r, ok := readCache(cacheFile, key); ok {
		return r
	}
	r := probeWith(ctx, fork, path, probeGuestOf(hv.HostArch, "kvm"), "kvm", "host")
	if ctx.Err() == nil { // else the probe was cut short and proves nothing
		if err := writeCache(cacheFile, key, r); err != nil {
			r.Note += fmt.Sprintf(" (not remembered: %v)", err)
		}
	}
	return r
}

func lookup(qemu string, arch hv.Arch) (string, error) {
	if qemu == "" {
		qemu = arch.QEMU()
	}
	path, err := exec.LookPath(qemu)
	if err != nil {
		return "", fmt.Errorf("%w (%s): %w", ErrNotFound, installs[arch], err)
	}
	return filepath.Abs(path)
}

// probeKey is what a cached result depends on.
type probeKey struct {
	Version int    `json:"version"`
	Boot    string `json:"boot"`
	Path    string `json:"path"`
	Mtime   int64  `json:"mtime"` // nanoseconds
	Size    int64  `json:"size"`
}

// probeVersion changes with what the probe does.
const probeVersion = 1

func keyOf(path, bootID string) (probeKey, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return probeKey{}, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return probeKey{}, err
	}
	return probeKey{probeVersion, bootID, real, info.ModTime().UnixNano(), info.Size()}, nil
}

type probeCache struct {
	probeKey
	Result
}

// readCache takes nothing that it can't fully believe: the probe is cheap.
func readCache(file string, key probeKey) (Result, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Result{}, false
	}
	var c probeCache
	if json.Unmarshal(data, &c) != nil || c.probeKey != key || (c.Accel != hv.AccelKVM && c.Accel != hv.AccelTCG) {
		return Result{}, false
	}
	return c.Result, true
}

// writeCache renames, so that a reader sees the old file or the new.
func writeCache(file string, key probeKey, r Result) error {
	data, err := json.Marshal(probeCache{key, r})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// verdict says what follows from how the probe's QEMU ended.
func verdict(ran bool, how string) Result {
	if ran {
		return Result{Accel: hv.AccelKVM, Note: "KVM: a probe ran guest code on it"}
	}
	return Result{Accel: hv.AccelTCG, Note: "TCG: /dev/kvm opens, but a probe could not run guest code on it: " + how}
}

// The probe's kernel in guest memory. Its page tables lie behind its code.
const (
	probeBase = 0x100000 // code, then PML4, PDPT and PD, a page each
	probePage = 0x1000
)

// probeCode, for amd64, is entered by the PVH boot protocol: 32-bit protected mode, paging
// off. It switches to long mode, spins a little, and writes its byte.
var probeCode = []byte{
	0x0f, 0x20, 0xe0, // mov eax, cr4
	0x83, 0xc8, 0x20, // or eax, PAE
	0x0f, 0x22, 0xe0, // mov cr4, eax
	0xb8, 0x00, 0x10, 0x10, 0x00, // mov eax, PML4
	0x0f, 0x22, 0xd8, // mov cr3, eax
	0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, EFER
	0x0f, 0x32, // rdmsr
	0x0d, 0x00, 0x01, 0x00, 0x00, // or eax, LME
	0x0f, 0x30, // wrmsr
	0x0f, 0x20, 0xc0, // mov eax, cr0
	0x0d, 0x00, 0x00, 0x00, 0x80, // or eax, PG
	0x0f, 0x22, 0xc0, // mov cr0, eax
	0x0f, 0x01, 0x15, 0x58, 0x00, 0x10, 0x00, // lgdt [0x100058]
	0xea, 0x40, 0x00, 0x10, 0x00, 0x08, 0x00, // jmp 8:0x100040
	0, 0, 0, 0, 0, 0, 0, 0, // up to 0x40
	0xb9, 0x00, 0x00, 0x10, 0x00, // mov ecx, 1<<20 (64-bit from here)
	0xff, 0xc9, // dec ecx
	0x75, 0xfc, // jnz -4
	0x31, 0xc0, // xor eax, eax
	0x0f, 0xa2, // cpuid
	0xb0, probeByte, // mov al, probeByte
	0xe6, probePort, // out probePort, al
	0xf4,       // hlt
	0xeb, 0xfd, // jmp -3
	0, 0, 0, 0, // up to 0x58: the GDT's size and address
	0x0f, 0x00, 0x60, 0x00, 0x10, 0x00, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, // 0x60: null descriptor
	0, 0, 0, 0, 0, 0x9a, 0x20, 0, // 64-bit code
}

// probeKernel is the probe's kernel as an ELF file: one segment, and the note
// that says where PVH enters.
func probeKernel() []byte {
	const (
		entryPages = 4
		noteType   = 18 // XEN_ELFNOTE_PHYS32_ENTRY
		headers    = 64 + 2*56
	)
	var b bytes.Buffer
	put := func(v ...any) {
		for _, x := range v {
			_ = binary.Write(&b, binary.LittleEndian, x) // a buffer takes all
		}
	}
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	put(uint16(2), uint16(62), uint32(1), uint64(probeBase), uint64(64), uint64(0), uint32(0))
	put(uint16(64), uint16(56), uint16(2), uint16(0), uint16(0), uint16(0))
	size := uint64(entryPages * probePage)
	put(uint32(1), uint32(7), uint64(probePage), uint64(probeBase), uint64(probeBase), size, size, uint64(probePage))
	put(uint32(4), uint32(4), uint64(headers), uint64(0), uint64(0), uint64(24), uint64(24), uint64(4))
	put(uint32(4), uint32(8), uint32(noteType), []byte("Xen\x00"), uint64(probeBase))
	b.Write(make([]byte, probePage-b.Len()))

	image := make([]byte, size)
	copy(image, probeCode)
	const present, large = 3, 0x83
	binary.LittleEndian.PutUint64(image[1*probePage:], (probeBase+2*probePage)|present)
	binary.LittleEndian.PutUint64(image[2*probePage:], (probeBase+3*probePage)|present)
	binary.LittleEndian.PutUint64(image[3*probePage:], large) // the first 2 MiB
	b.Write(image)
	return b.Bytes()
}
