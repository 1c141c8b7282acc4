package boot

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// pack compresses as a kernel's build does.
func pack(t testing.TB, f format, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch f {
	case gzipped:
		w = gzip.NewWriter(&buf)
	case xzipped:
		w, err = xz.NewWriter(&buf)
	case zstded:
		w, err = zstd.NewWriter(&buf)
	case lz4ed:
		l := lz4.NewWriter(&buf)
		err = l.Apply(lz4.LegacyOption(true))
		w = l
	default:
		return data
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// fakeELF is the smallest x86-64 ELF with one note segment, or with none.
func fakeELF(note []byte) []byte {
	const header, entry = 64, 56
	b := make([]byte, header+entry)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], uint16(elf.ET_EXEC))
	le.PutUint16(b[18:], uint16(elf.EM_X86_64))
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], header)
	le.PutUint16(b[52:], header)
	le.PutUint16(b[54:], entry)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	p := b[header:]
	le.PutUint32(p, uint32(elf.PT_NOTE))
	le.PutUint64(p[8:], header+entry)
	le.PutUint64(p[32:], uint64(len(note)))
	le.PutUint64(p[40:], uint64(len(note)))
	return append(b, note...)
}

func elfNote(name string, kind uint32, desc []byte) []byte {
	b := make([]byte, 12)
	le := binary.LittleEndian
	le.PutUint32(b, uint32(len(name)+1))
	le.PutUint32(b[4:], uint32(len(desc)))
	le.PutUint32(b[8:], kind)
	b = append(b, name...)
	b = append(b, make([]byte, int(align4(uint64(len(name)+1)))-len(name))...)
	b = append(b, desc...)
	return append(b, make([]byte, int(align4(uint64(len(desc))))-len(desc))...)
}

func pvhELF() []byte {
	note := append(elfNote("GNU", 3, make([]byte, 20)), elfNote("Xen", 18, make([]byte, 8))...)
	return append(fakeELF(note), bytes.Repeat([]byte("kernel text "), 4000)...)
}

// fakeImage wraps a payload in a bzImage.
func fakeImage(payload []byte) []byte {
	b := make([]byte, 3*512) // boot sector and two of setup code
	le := binary.LittleEndian
	b[0x1f1] = 2
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	le.PutUint32(b[0x248:], 100)
	le.PutUint32(b[0x24c:], uint32(len(payload)))
	b = append(b, make([]byte, 100)...)
	return append(append(b, payload...), "what follows the payload"...)
}

func withSize(f format, packed []byte, size int) []byte {
	if f == gzipped {
		return packed // has it at its end by itself
	}
	return binary.LittleEndian.AppendUint32(packed, uint32(size))
}

func TestExtractVmlinux(t *testing.T) {
	vmlinux := pvhELF()
	for _, f := range []format{gzipped, xzipped, zstded, lz4ed} {
		t.Run(string(f), func(t *testing.T) {
			got, err := extractVmlinux(fakeImage(withSize(f, pack(t, f, vmlinux), len(vmlinux))))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, vmlinux) {
				t.Errorf("%d bytes came back, not the %d that went in", len(got), len(vmlinux))
			}
		})
	}
}

// Whatever is wrong, the error says that the image may still be used whole.
func TestExtractVmlinuxRefusals(t *testing.T) {
	vmlinux := pvhELF()
	noNote := fakeELF(elfNote("GNU", 3, nil))
	good := fakeImage(withSize(lz4ed, pack(t, lz4ed, vmlinux), len(vmlinux)))
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, image := range map[string][]byte{
		"empty":              nil,
		"short":              good[:0x24f],
		"no boot flag":       change(0x1fe, 0),
		"no magic":           change(0x202, 'X'),
		"old protocol":       change(0x206, 0x07),
		"payload too long":   change(0x24f, 0x7f),
		"payload far away":   change(0x24b, 0x7f),
		"unknown compressor": fakeImage(withSize(plain, bytes.Repeat([]byte("?"), 100), 100)),
		"truncated":          fakeImage(withSize(zstded, pack(t, zstded, vmlinux)[:50], len(vmlinux))),
		"size too large":     fakeImage(withSize(lz4ed, pack(t, lz4ed, vmlinux), maxVmlinux+1)),
		"size zero":          fakeImage(withSize(lz4ed, pack(t, lz4ed, vmlinux), 0)),
		"no PVH note":        fakeImage(withSize(lz4ed, pack(t, lz4ed, noNote), len(noNote))),
		"no ELF":             fakeImage(withSize(lz4ed, pack(t, lz4ed, []byte("text, no program")), 16)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := extractVmlinux(image); !errors.Is(err, errNoVmlinux) {
				t.Errorf("error %v, want errNoVmlinux", err)
			}
		})
	}
}

func FuzzSetupHeader(f *testing.F) {
	f.Add(fakeImage(make([]byte, 64)))
	f.Add([]byte("HdrS"))
	f.Fuzz(func(t *testing.T, image []byte) {
		h, err := parseSetupHeader(image)
		if err == nil && (h.payloadOffset < 0 || h.payloadLength < 8 || h.payloadOffset+h.payloadLength > int64(len(image))) {
			t.Errorf("payload of %d at %d lies outside of %d", h.payloadLength, h.payloadOffset, len(image))
		}
	})
}

func FuzzPVHNote(f *testing.F) {
	f.Add(elfNote("Xen", 18, make([]byte, 8)))
	f.Add(elfNote("GNU", 3, make([]byte, 3)))
	f.Fuzz(func(_ *testing.T, notes []byte) { hasPVHNote(notes, binary.LittleEndian) })
}

func TestDecompressBounds(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1000)
	for _, f := range []format{plain, gzipped, xzipped, zstded} {
		got, err := decompress(pack(t, f, data), 1000)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", f, len(got), err)
		}
		if f == plain {
			continue
		}
		if _, err := decompress(pack(t, f, data), 999); err == nil {
			t.Errorf("%s: went past its limit", f)
		}
	}
}

func TestCheckStatic(t *testing.T) {
	interp, other := fakeELF(nil), fakeELF(nil)
	binary.LittleEndian.PutUint16(other[18:], uint16(elf.EM_AARCH64))
	binary.LittleEndian.PutUint32(interp[64:], uint32(elf.PT_INTERP))
	for name, c := range map[string]struct {
		program []byte
		ok      bool
	}{
		"static":  {fakeELF(nil), true},
		"dynamic": {interp, false},
		"foreign": {other, false},
		"script":  {[]byte("#!/bin/sh\n"), false},
		"empty":   {nil, false},
	} {
		if err := checkStatic(c.program, "amd64"); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
