package vsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Features of virtio that we offer. Not SEQPACKET, not packed rings.
const (
	featIndirect = 1 << 28
	featEventIdx = 1 << 29
	featProtocol = 1 << 30 // VHOST_USER_F_PROTOCOL_FEATURES
	featVersion1 = 1 << 32
	features     = featIndirect | featEventIdx | featProtocol | featVersion1
)

// Features of the protocol. Without CONFIG QEMU has no way to learn the CID.
// STATUS and CONFIGURE_MEM_SLOTS are left out on purpose: each makes more
// messages mandatory and gains nothing.
const (
	protoReplyAck = 1 << 3
	protoConfig   = 1 << 9
	protocol      = protoReplyAck | protoConfig
)

// Queues, by their index in the protocol. QEMU keeps the event queue.
const (
	rxq = 0 // to the guest
	txq = 1 // from the guest
	nrq = 2
)

// answer does what m asks and returns the reply, if one is due. A front end
// that waits for a reply in vain hangs for ever, QMP and all, so a request that
// we don't know is either refused or ends the session.
func (d *Device) answer(m *message) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended { // nothing may be mapped or started any more
		return nil, hv.ErrGone
	}
	body, err := d.get(m)
	if err != nil {
		return nil, err
	}
	if body != nil {
		return m.reply(body), nil
	}
	err = d.set(m)
	acks := m.flags&flagNeedReply != 0 && d.protocol&protoReplyAck != 0
	if acks {
		status := uint64(0)
		if err != nil {
			status = 1
			d.log.Warn("vhost-user request refused", "cid", d.cid, "request", uint32(m.request), "err", err)
		}
		return m.reply(u64(status)), nil
	}
	return nil, err
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// get answers the requests that have an answer; nil for all others.
func (d *Device) get(m *message) ([]byte, error) {
	switch m.request {
	case getFeatures:
		return u64(features), nil
	case getProtocolFeatures:
		return u64(protocol), nil
	case getQueueNum:
		return u64(nrq), nil
	case getConfig:
		return m.config(u64(uint64(d.cid)))
	case getVringBase:
		i, _ := m.vring()
		r, err := d.ring(m, uint64(i))
		if err != nil {
			return nil, err
		}
		d.stopRing(r)
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, i), uint32(r.idx)), nil
	}
	return nil, nil
}

// set does the requests that have no answer of their own.
func (d *Device) set(m *message) error {
	switch m.request {
	case setFeatures:
		return d.setFeatures(m.u64())
	case setProtocolFeatures:
		if v := m.u64(); v&^protocol != 0 {
			return fmt.Errorf("vhost-user protocol features %#x: only %#x were offered", v, uint64(protocol))
		}
		d.protocol = m.u64()
		return nil
	case setOwner, setConfig: // nothing is configurable
		return nil
	case resetOwner:
		for i := range d.rings {
			d.stopRing(&d.rings[i])
		}
		return nil
	case setMemTable:
		return d.setMemory(m)
	case setVringErr: // nobody would look at it
		return nil
	}
	return d.setRing(m)
}

// setRing does the requests about one ring.
func (d *Device) setRing(m *message) error {
	switch m.request {
	case setVringKick, setVringCall:
		r, err := d.ring(m, m.u64()&0xFF)
		if err != nil {
			return err
		}
		if m.request == setVringKick {
			return d.setKick(r, m)
		}
		return d.setCall(r, m)
	case setVringNum, setVringBase, setVringAddr, setVringEnable:
	default:
		return fmt.Errorf("vhost-user request %d is unknown here", m.request)
	}
	i, v := m.vring()
	r, err := d.ring(m, uint64(i))
	if err != nil {
		return err
	}
	switch m.request {
	case setVringNum: // checked when the ring starts: the guest chose it
		if r.started { // it was looked up by the size that it has
			return fmt.Errorf("vhost-user size of ring %d: it runs", i)
		}
		r.num = v
	case setVringAddr:
		r.addr = m.ringAddr()
	case setVringBase:
		return d.setBase(r, v)
	case setVringEnable:
		r.enabled = v != 0
		d.ringsChanged()
	}
	return nil
}

func (d *Device) ring(m *message, i uint64) (*ring, error) {
	if i >= nrq {
		return nil, fmt.Errorf("vhost-user request %d: ring %d: must be 0 or 1", m.request, i)
	}
	return &d.rings[i], nil
}

func (d *Device) setFeatures(v uint64) error {
	if v&^uint64(features) != 0 {
		return fmt.Errorf("vhost-user features %#x: only %#x were offered", v, uint64(features))
	}
	for i := range d.rings {
		d.rings[i].events = v&featEventIdx != 0
		if v&featProtocol == 0 { // then there is no SET_VRING_ENABLE
			d.rings[i].enabled = true
		}
	}
	d.ringsChanged()
	return nil
}

// setMemory replaces the guest's memory. Rings that run are looked up again.
func (d *Device) setMemory(m *message) error {
	table, err := m.memTable()
	if err != nil {
		return err
	}
	mem, err := mapMemory(table, m.fds)
	if err != nil {
		return err
	}
	old := d.mem
	d.mem = mem
	for i := range d.rings {
		if r := &d.rings[i]; r.started {
			d.startRing(r)
		}
	}
	old.unmap()
	d.ringsChanged()
	return nil
}

// setBase says where a ring will start. Where that is not where it stopped, the
// guest has begun anew and knows none of its connections.
func (d *Device) setBase(r *ring, v uint32) error {
	if v > 0xFFFF {
		return fmt.Errorf("vhost-user ring base %d: at most 65535", v)
	}
	d.stopRing(r)
	if uint16(v) != r.idx {
		d.resetAll("the guest was reset")
	}
	r.idx = uint16(v)
	return nil
}

// setKick starts a ring.
func (d *Device) setKick(r *ring, m *message) error {
	fd, err := m.takeFD()
	if err != nil {
		return err
	}
	if fd < 0 {
		return errors.New("vhost-user ring without a kick descriptor: polling is not offered")
	}
	f := os.NewFile(uintptr(fd), "kick")
	r.closeKick()
	r.kick = f
	d.tasks.Go(func() { d.kicks(f) })
	d.startRing(r)
	d.ringsChanged()
	return nil
}

func (d *Device) setCall(r *ring, m *message) error {
	fd, err := m.takeFD()
	if err != nil {
		return err
	}
	r.closeCall()
	r.call = fd
	// What was signalled to the old descriptor may be lost.
	if r.running() {
		r.force = true
		d.signal(r)
	}
	return nil
}

func (r *ring) closeKick() {
	if r.kick != nil {
		_ = r.kick.Close() // ends the goroutine that reads it
		r.kick = nil
	}
}

func (r *ring) closeCall() {
	if r.call >= 0 {
		_ = syscall.Close(r.call)
		r.call = -1
	}
}
