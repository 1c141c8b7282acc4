// Package vsock is a virtio-vsock device in user space, spoken to by QEMU over
// vhost-user. It gives one VM its stream sockets between host and guest
// without /dev/vhost-vsock, without root and without a CID space shared with
// the rest of the host: the CID exists only inside this VM, and the device is
// told it, QEMU is not.
//
// # Life
//
// [Device.Serve] speaks vhost-user on one end of a socketpair whose other end
// QEMU inherited (-chardev socket,fd=N). QEMU never shakes hands twice, so a
// Device lives exactly as long as that connection: when QEMU dies, or the
// connection says something that can't be, or [Device.Close] is called, every
// connection is reset, every listener closed, and the Device answers
// [hv.ErrGone] from then on. QEMU must give the guest shared memory
// (memory-backend-memfd,share=on), or the device stays silent.
//
// Between the two the guest may come and go. A paused VM stops and starts its
// rings and its connections survive. A guest that was reset looks just the same
// on the wire, but for one thing: the ring index that it starts from is not the
// one at which we stopped. Then all its connections are reset at once.
//
// # Streams
//
// A connection is a [net.Conn] with deadlines that wake blocked calls,
// CloseWrite and CloseRead. What the guest does arrives as:
//
//	RST to a dial             ECONNREFUSED
//	RST later, guest reset    buffered data, then ECONNRESET
//	SHUTDOWN(send)            buffered data, then io.EOF
//	SHUTDOWN(receive)         EPIPE on Write
//	SHUTDOWN(both)            both, and we answer RST and forget the connection
//
// Our Close sends SHUTDOWN(both) and remembers the connection until the guest
// answers with RST, or a timer does it. RST is never answered with RST.
//
// A dial that succeeds means that the guest's kernel took it, not that a
// process did: a process that is just dying still has connections accepted on
// its behalf, which then end without a byte.
//
// # Bytes
//
// There is no send buffer: Write lends its slice to the device and returns when
// the last byte is in a buffer of the guest. What comes from the guest is
// copied into blocks of the connection, at most Options.BufAlloc bytes (a quarter in a crowd), which is
// the credit that the guest was promised; a guest that sends more is reset.
// Reading frees credit, and a CREDIT_UPDATE goes out when a quarter is free and
// no other packet told the guest.
//
//	Write ──lend──▶ ready list ──pump──▶ rx ring ──▶ guest
//	Read  ◀──copy── conn.in    ◀─receive─ tx ring ◀── guest
//
// # Concurrency
//
// One lock, Device.mu, guards everything: rings, guest memory, table and
// connections. It is held while at most a few hundred packets are copied, and
// never while waiting. Guest memory is mapped and unmapped under it, so no ring
// is ever touched after its memory is gone. Goroutines: Serve's own, one for
// each ring's kicks and one for work left over; none for a connection.
//
// # What a hostile guest can do
//
// It owns its memory, its rings and the headers in them. Each descriptor is
// copied before it is checked and checked against the memory table; a chain is
// at most 256 segments; an indirect table may not lead to another; a ring that
// breaks a rule stops until the driver sets it up anew, and all connections
// with it. What the device owes the guest is kept as bits in the connection,
// except for RSTs to connections that do not exist, which are queued: while 256
// of them are, no packet is taken.
//
// Memory is bounded, whatever the guest does: a third of Options.MaxConns ×
// (BufAlloc + one block of 16 KiB), and for the rest a quarter of BufAlloc and a
// block each, 216 MiB with the defaults, of which it needs all connections that
// there can be and readers on the host that don't read; 1 MiB of idle blocks; 256
// RSTs. A connection counts until the guest and the host have both
// let go of it. A guest without connections costs nothing.
//
// Ring indices are read and written with 32-bit atomics of the host's byte
// order, so hosts are little-endian.
package vsock
