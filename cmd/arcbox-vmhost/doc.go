// Command arcbox-vmhost owns one VM. It is started by arcbox-engine, never by
// hand: the VM's spec comes on standard input and the machine's lock at
// descriptor 3 (package hv/vmhost). It links the drivers of its platform, and
// neither the journal nor the actors.
package main
