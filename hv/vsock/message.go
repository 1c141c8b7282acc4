package vsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// request is the kind of a vhost-user message.
type request uint32

const (
	getFeatures         request = 1
	setFeatures         request = 2
	setOwner            request = 3
	resetOwner          request = 4
	setMemTable         request = 5
	setVringNum         request = 8
	setVringAddr        request = 9
	setVringBase        request = 10
	getVringBase        request = 11
	setVringKick        request = 12
	setVringCall        request = 13
	setVringErr         request = 14
	getProtocolFeatures request = 15
	setProtocolFeatures request = 16
	getQueueNum         request = 17
	setVringEnable      request = 18
	getConfig           request = 24
	setConfig           request = 25
)

// Flags of a message.
const (
	flagVersionMask = 0x3
	flagVersion     = 0x1
	flagReply       = 0x4
	flagNeedReply   = 0x8
)

const (
	messageHeader = 12
	maxMessage    = 4096
	maxFDs        = maxRegions
	maxConfig     = 256
	noFD          = 0x100 // in SET_VRING_KICK and its like
)

// message is one vhost-user message. Its descriptors are the receiver's to
// close.
type message struct {
	request request
	flags   uint32
	body    []byte
	fds     []int
}

// length of each request's body: a fixed one, or a least one where negative.
var bodyLength = map[request]int{
	getFeatures: 0, setFeatures: 8, setOwner: 0, resetOwner: 0,
	setMemTable: -8, setVringNum: 8, setVringAddr: 40, setVringBase: 8,
	getVringBase: 8, setVringKick: 8, setVringCall: 8, setVringErr: 8,
	getProtocolFeatures: 0, setProtocolFeatures: 8, getQueueNum: 0,
	setVringEnable: 8, getConfig: -12, setConfig: -12,
}

// parseHeader checks a message's first twelve bytes and returns the message
// without its body, and the body's length. A request that is not in bodyLength
// is let through: its sender may only want to hear that we don't know it.
func parseHeader(b *[messageHeader]byte) (message, int, error) {
	le := binary.LittleEndian
	m := message{request: request(le.Uint32(b[0:])), flags: le.Uint32(b[4:])}
	size := le.Uint32(b[8:])
	if m.flags&flagVersionMask != flagVersion || m.flags&flagReply != 0 {
		return m, 0, fmt.Errorf("vhost-user request %d: flags %#x: must be version 1 and no reply", m.request, m.flags)
	}
	want, known := bodyLength[m.request]
	bad := size > maxMessage || known && want >= 0 && int(size) != want || known && want < 0 && int(size) < -want
	if bad {
		return m, 0, fmt.Errorf("vhost-user request %d: size %d is not one that it can have", m.request, size)
	}
	return m, int(size), nil
}

// readMessage reads one message. The descriptors come with its first byte, and
// the rest may come in pieces. An io.EOF means that nothing of it came.
func readMessage(conn *net.UnixConn) (m message, err error) {
	var head [messageHeader]byte
	var fds []int
	defer func() {
		if err != nil {
			closeFDs(fds)
		}
	}()
	oob := make([]byte, syscall.CmsgSpace(4*maxFDs))
	for got := 0; got < len(head); {
		n, oobn, flags, _, err := conn.ReadMsgUnix(head[got:], oob)
		if err != nil {
			return m, err
		}
		more, err := parseRights(oob[:oobn])
		fds = append(fds, more...)
		switch {
		case err != nil:
			return m, err
		case flags&syscall.MSG_CTRUNC != 0 || len(fds) > maxFDs:
			return m, fmt.Errorf("vhost-user message with more than %d descriptors", maxFDs)
		case n == 0 && got == 0:
			return m, io.EOF
		case n == 0:
			return m, io.ErrUnexpectedEOF
		}
		got += n
	}
	m, size, err := parseHeader(&head)
	if err != nil {
		return m, err
	}
	m.body = make([]byte, size)
	if _, err := io.ReadFull(conn, m.body); err != nil {
		return m, fmt.Errorf("vhost-user request %d: read body: %w", m.request, err)
	}
	m.fds = fds
	return m, nil
}

// parseRights returns the descriptors of a control message. Go has set
// close-on-exec on them.
func parseRights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	list, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("vhost-user control message: %w", err)
	}
	var fds []int
	for i := range list {
		got, err := syscall.ParseUnixRights(&list[i])
		if err != nil {
			return fds, fmt.Errorf("vhost-user descriptors: %w", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}

// reply is the answer to m.
func (m message) reply(body []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, messageHeader, messageHeader+len(body))
	le.PutUint32(b[0:], uint32(m.request))
	le.PutUint32(b[4:], flagVersion|flagReply)
	le.PutUint32(b[8:], uint32(len(body)))
	return append(b, body...)
}

func (m message) u64() uint64 { return binary.LittleEndian.Uint64(m.body) }

// vring is the body of the messages with a ring's index and a number.
func (m message) vring() (index, num uint32) {
	return binary.LittleEndian.Uint32(m.body), binary.LittleEndian.Uint32(m.body[4:])
}

// ringAddr is where a ring lies, in the front end's addresses.
type ringAddr struct {
	desc, used, avail uint64
}

func (m message) ringAddr() ringAddr {
	le := binary.LittleEndian
	return ringAddr{desc: le.Uint64(m.body[8:]), used: le.Uint64(m.body[16:]), avail: le.Uint64(m.body[24:])}
}

// memTable is the body of SET_MEM_TABLE.
func (m message) memTable() ([]regionEntry, error) {
	le := binary.LittleEndian
	n := le.Uint32(m.body)
	if n > maxRegions || len(m.body) != 8+32*int(n) {
		return nil, fmt.Errorf("vhost-user memory table of %d regions in %d bytes: at most %d of 32 each", n, len(m.body), maxRegions)
	}
	table := make([]regionEntry, n)
	for i := range table {
		b := m.body[8+32*i:]
		table[i] = regionEntry{gpa: le.Uint64(b), size: le.Uint64(b[8:]), uva: le.Uint64(b[16:]), offset: le.Uint64(b[24:])}
	}
	return table, nil
}

// takeFD gives the one descriptor of SET_VRING_KICK and its like to the
// caller, non-blocking; -1 where the message says that it has none.
func (m *message) takeFD() (int, error) {
	if m.u64()&noFD != 0 {
		return -1, nil
	}
	if len(m.fds) != 1 {
		return -1, fmt.Errorf("vhost-user request %d: %d descriptors: must be 1", m.request, len(m.fds))
	}
	fd := m.fds[0]
	if err := syscall.SetNonblock(fd, true); err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	m.fds = nil
	return fd, nil
}

// config answers GET_CONFIG from the device's configuration; beyond its end
// there are zeroes.
func (m message) config(space []byte) ([]byte, error) {
	le := binary.LittleEndian
	off, size := le.Uint32(m.body), le.Uint32(m.body[4:])
	if off > maxConfig || size > maxConfig || len(m.body) != 12+int(size) {
		return nil, errors.New("vhost-user GET_CONFIG: offset and size must be at most 256 and match the body")
	}
	b := make([]byte, 12+size)
	copy(b, m.body[:12])
	if off < uint32(len(space)) {
		copy(b[12:], space[off:])
	}
	return b, nil
}
