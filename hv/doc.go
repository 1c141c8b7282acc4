// Package hv is the contract between a VM host and a hypervisor: what a VM is
// given ([Spec]), what drives it ([Driver], [VM]), what it says ([Event]) and
// how it ends ([Exit]). It imports nothing of ours and does no I/O.
//
// A driver runs inside arcbox-vmhost, one process for each VM, and nowhere
// else. Its VM lives exactly as long as that process. What a backend can't do
// it says in [Capabilities]; a further ability is a further interface, found by
// type assertion (for example [Rebooter]).
//
// Every driver passes the suite of package hv/hvtest.
package hv
