package console

import (
	"io"
	"testing"

	"pgregory.net/rapid"
)

func TestTailKeepsTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []byte
		kept := &Tail{}
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			p := rapid.SliceOfN(rapid.Byte(), 0, 3*maxTail).Draw(t, "p")
			all = append(all, p...)
			if n, err := kept.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if want := string(all[max(0, len(all)-maxTail):]); string(kept.buf) != want {
			t.Fatalf("kept %d bytes, want the last %d", len(kept.buf), len(want))
		}
		if len(kept.LastLines()) > MaxText {
			t.Fatal("too long for a sentence")
		}
	})
}

// However the console's bytes are cut into writes, a panic is found in them.
func TestWatchFindsAPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		noise := rapid.SliceOfN(rapid.Byte(), 0, 2000)
		console := append(noise.Draw(t, "before"), "\n[  1.5] Kernel panic - not syncing: VFS\r\n[ 1.6] CPU\n[ 1.7] ---[ end Kernel panic - not syncing: VFS ]---\r\n"...)
		w := NewWatch(io.Discard)
		halted := func() bool {
			select {
			case <-w.Halted():
				return true
			default:
				return false
			}
		}
		for len(console) > 0 {
			if halted() {
				break
			}
			n := rapid.IntRange(1, len(console)).Draw(t, "n")
			_, _ = w.Write(console[:n])
			console = console[n:]
		}
		if !halted() {
			t.Fatal("the end of the panic was not seen")
		}
		if got := w.PanicLine(); got != "Kernel panic - not syncing: VFS" {
			t.Fatalf("panic line %q", got)
		}
		if len(w.line) > MaxText {
			t.Fatalf("%d bytes held", len(w.line))
		}
	})
}
