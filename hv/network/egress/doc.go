// Package egress says where a machine may connect to. It is pure: the engine
// reads what a person typed with it, the network process holds packets against
// it.
//
//	allow            anywhere, but for link-local addresses
//	deny             nowhere
//	RULE,RULE,…      there only
//
// A rule is an IPv4 address or a network in CIDR notation, with a port behind a
// colon or for every port; host or host:PORT, the loopback of the host; or dns,
// which lets it resolve names beyond those of the machines. Names of machines
// are always answered. Only the one who begins a connection or an exchange
// needs to be allowed to; other machines are places like any other.
package egress
