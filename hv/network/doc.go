// Package network is an engine's network in user space: one switch, one
// gateway, any number of machines. It needs no rights and no device of the
// host, and knows nothing of processes; arcbox-netd runs it (package
// hv/network/netd).
//
// # Frames
//
// Each machine has a port, which carries Ethernet frames in the form of QEMU's
// stream netdev: four bytes of length, big endian, then the frame. Who belongs
// to the network is told with [Network.Set]; a port learns nothing from frames.
// So a frame is taken only from the MAC and the IPv4 address that are its
// machine's, nothing is ever flooded, and no guest can take another's place:
// ARP and DHCP are answered by the switch itself, of what it was told. IPv6,
// other protocols, broadcast and multicast are dropped.
//
// A port never holds up another. What its guest does not read is queued up to a
// bound and dropped beyond it, as on any network; a VM that stands still costs
// nobody else anything.
//
// # The gateway
//
// What leaves the network is terminated by gVisor's stack and opened anew as a
// connection of this process: TCP, UDP, nothing else, so that a ping reaches
// machines and the gateway only. lease.Host is the host's loopback. Names below
// arcbox.internal are answered at once, with NXDOMAIN where there is none; all
// others go to the host's own name servers, for at most a few seconds, and end
// in SERVFAIL where those are slow or dead.
//
// # Egress
//
// A machine's policy (package hv/network/egress) is held against each
// connection and each exchange of datagrams that it begins, to the outside and
// to other machines alike; what is denied is refused at once, counted, and the
// first of it kept. A change of policy ends what the machine has open to the
// outside.
//
// # Bounds
//
// Connections, exchanges and questions are bounded for each machine, so that
// none can use up what all share.
package network
