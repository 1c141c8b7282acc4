package vsock

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// closed waits until the device has ended.
func (r *rig) closed() {
	r.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(rigPatience))
	if _, err := io.Copy(io.Discard, r.conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		r.Fatalf("the device did not end: %v", err)
	}
}

// rawMessage is a message as it is sent, its size as it says.
func rawMessage(req request, flags uint32, size uint32, body []byte) []byte {
	b := pair(uint32(req), flags)
	return append(binary.LittleEndian.AppendUint32(b, size), body...)
}

// A front end that says what can't be said ends its device, and nothing else:
// no descriptor and no goroutine is left of either.
func TestHostileMessages(t *testing.T) {
	const v, ack = flagVersion, flagVersion | flagNeedReply
	for _, c := range []struct {
		name string
		raw  []byte
		fds  int
		goes bool // the device goes on
	}{
		{"version 0", rawMessage(getFeatures, 0, 0, nil), 0, false},
		{"version 2", rawMessage(getFeatures, 2, 0, nil), 0, false},
		{"a reply", rawMessage(getFeatures, v|flagReply, 0, nil), 0, false},
		{"too long", rawMessage(getFeatures, v, 1, []byte{0}), 0, false},
		{"4 GiB", rawMessage(setFeatures, v, ^uint32(0), nil), 0, false},
		{"4 GiB of an unknown request", rawMessage(1000, ack, ^uint32(0), nil), 0, false},
		{"too short", rawMessage(setFeatures, v, 4, make([]byte, 4)), 0, false},
		{"unknown, no answer wanted", rawMessage(1000, v, 0, nil), 0, false},
		{"unknown, an answer wanted", rawMessage(1000, ack, 8, make([]byte, 8)), 0, true},
		{"unknown, with descriptors", rawMessage(1000, ack, 8, make([]byte, 8)), 8, true},
		{"unneeded descriptors", rawMessage(setOwner, ack, 0, nil), 8, true},
		{"too many descriptors", rawMessage(setOwner, ack, 0, nil), 9, false},
		{"far too many descriptors", rawMessage(setOwner, ack, 0, nil), 200, false},
		{"more regions than can be", rawMessage(setMemTable, ack, 8, pair(9, 0)), 8, true},
		{"4 G regions", rawMessage(setMemTable, ack, 8, pair(^uint32(0), 0)), 8, true},
		{"regions without entries", rawMessage(setMemTable, ack, 8, pair(1, 0)), 1, true},
		{"region without descriptor", rawMessage(setMemTable, ack, 40, table(whole)), 0, true},
		{"region with two descriptors", rawMessage(setMemTable, ack, 40, table(whole)), 2, true},
		{"region in no file", rawMessage(setMemTable, ack, 40, table(whole)), 1, true},
		{"kick without descriptor", rawMessage(setVringKick, ack, 8, u64(txq)), 0, true},
		{"kick with two", rawMessage(setVringKick, ack, 8, u64(txq)), 2, true},
		{"kick that says that it has none", rawMessage(setVringKick, ack, 8, u64(txq|noFD)), 1, true},
		{"kick that is no event", rawMessage(setVringKick, ack, 8, u64(txq)), 1, true},
		{"call without descriptor", rawMessage(setVringCall, ack, 8, u64(txq)), 0, true},
		{"call that says that it has none", rawMessage(setVringCall, ack, 8, u64(txq|noFD)), 1, true},
		{"call that can't be written", rawMessage(setVringCall, ack, 8, u64(txq)), 1, true},
		{"ring 2", rawMessage(setVringNum, ack, 8, pair(2, 128)), 0, true},
		{"ring 4294967295", rawMessage(setVringBase, ack, 8, pair(^uint32(0), 0)), 0, true},
		{"kick of ring 255", rawMessage(setVringKick, ack, 8, u64(255)), 1, true},
		{"base of ring 2", rawMessage(getVringBase, v, 8, pair(2, 0)), 0, false},
		{"base 65536", rawMessage(setVringBase, ack, 8, pair(txq, 1<<16)), 0, true},
		{"features that were not offered", rawMessage(setFeatures, ack, 8, u64(^uint64(0))), 0, true},
		{"protocol that was not offered", rawMessage(setProtocolFeatures, ack, 8, u64(^uint64(0))), 0, true},
		{"config far away", rawMessage(getConfig, v, 12, append(pair(^uint32(0), 0), 0, 0, 0, 0)), 0, false},
		{"config of another size", rawMessage(getConfig, v, 12, append(pair(0, 8), 0, 0, 0, 0)), 0, false},
		{"config of 4 GiB", rawMessage(getConfig, v, 12, append(pair(0, ^uint32(0)), 0, 0, 0, 0)), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fds, routines := countFDs(t), runtime.NumGoroutine()
			r := newRunningRig(t, Options{})
			r.works()
			r.say(c.raw, c.fds)
			if !c.goes {
				r.closed()
			} else {
				// The acknowledgement, or none where there was nothing to refuse.
				_ = r.conn.SetReadDeadline(time.Now().Add(rigPatience))
				r.read(messageHeader + 8)
				if r.ack(setOwner, nil) != 0 {
					t.Error("the device says nothing sound any more")
				}
				r.reset()
				r.works()
			}
			r.close()
			r.settle(fds, routines)
		})
	}
}

// say sends bytes with n descriptors that are good for nothing.
func (r *rig) say(raw []byte, n int) {
	r.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		r.Fatal(err)
	}
	defer null.Close()
	var oob []byte
	if n > 0 {
		oob = unix.UnixRights(slices.Repeat([]int{int(null.Fd())}, n)...)
	}
	if _, _, err := r.conn.WriteMsgUnix(raw, oob, nil); err != nil {
		r.Fatal(err)
	}
}

// A front end that goes in the middle of a message takes nothing along.
func TestMessageCutShort(t *testing.T) {
	raw := rawMessage(setMemTable, flagVersion|flagNeedReply, 40, table(whole))
	for n := 1; n < len(raw); n++ {
		fds, routines := countFDs(t), runtime.NumGoroutine()
		r := newRig(t, Options{})
		r.say(raw[:n], maxFDs)
		_ = r.conn.Close()
		err := <-r.served
		r.served <- err
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
		r.close()
		r.settle(fds, routines)
	}
}

// What a ring that runs was looked up by can't be changed under it.
func TestRunningRingKeepsItsSize(t *testing.T) {
	r := newRunningRig(t, Options{})
	for _, num := range []uint32{0, 1, 2, rigNum, 1 << 15, 1 << 31, ^uint32(0)} {
		for i := range uint32(nrq) {
			if r.ack(setVringNum, pair(i, num)) == 0 {
				t.Errorf("ring %d took the size %d while it ran", i, num)
			}
			r.set(setVringAddr, r.queue[i].addr(1, 1, 1)) // counts when it is started
		}
		r.works()
	}
}

// A front end that floods the device with descriptors leaves it with the last.
func TestDescriptorsAreReplaced(t *testing.T) {
	r := newRunningRig(t, Options{})
	r.works()
	fds, routines := countFDs(t), runtime.NumGoroutine()
	for range 500 {
		for i, q := range r.queue {
			r.set(setVringKick, u64(uint64(i)), int(q.kick.Fd()))
			_ = unix.SetNonblock(int(q.kick.Fd()), true)
			r.set(setVringCall, u64(uint64(i)), int(q.call.Fd()))
			_ = unix.SetNonblock(int(q.call.Fd()), true)
			r.set(setVringErr, u64(uint64(i)), int(q.call.Fd()))
		}
		r.set(setMemTable, table(whole), r.fd)
	}
	r.settle(fds, routines)
	r.works()
}
