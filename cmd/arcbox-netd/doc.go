// Command arcbox-netd is an engine's network. It is started by arcbox-engine,
// never by hand: its configuration comes on standard input and the network's
// lock at descriptor 3 (package hv/network/netd). It links neither the journal
// nor the actors, nor a driver.
package main
