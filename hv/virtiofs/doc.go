// Package virtiofs serves directories of the host to a VM, over vhost-user, by the
// host's virtiofsd: one process a share, which a VM host starts and which dies with
// it ([Start]).
//
// The process is put together in two steps. unshare(1) makes its namespaces: one for
// mounts and, where the engine is not root's, one for users, in which root is the
// engine's user and every other id one of that user's subordinate ids (newuidmap,
// /etc/subuid). In them the VM host's own binary runs once more ([Enter]): it opens
// the directory and refuses any link on the way to it, so that what was named is what
// is served; binds it to a place of its own, read-only unless the spec says
// otherwise, which holds whatever the guest does; and becomes virtiofsd, which locks
// itself up in that directory. Links in a share are the guest's to follow: they lead
// nowhere on the host.
//
// A virtiofsd that ended takes its share along: the state of its file handles was in
// it, and QEMU keeps the device without a way to give it another. The VM runs on.
package virtiofs
