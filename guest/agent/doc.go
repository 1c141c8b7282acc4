// Package agent is the inside of a guest: the services that the engine calls
// (package wire), and the first process of a machine's initramfs.
//
// # Boot
//
// [Init] is what arcbox-agent does as process 1. It finds, in the initramfs:
//
//	/init               this program
//	/lib/modules.order  the modules to load (package early)
//	/arcbox/token       the launch's token, 32 bytes; deleted once read
//	/arcbox/ssh-*       SSH's host key, and the key that may log in; likewise
//	/arcbox/seed-*      what cloud-init is to find, at a machine's first boot; likewise
//	/bin/busybox        and links to it, where the machine has a rescue userland
//
// and, on the kernel's command line, which only the machine's owner controls:
//
//	arcbox.name=NAME    the host name
//	arcbox.root=image   the root is on disks: see below
//	arcbox.id=ID        the machine's id, 32 hexadecimal digits
//	arcbox.of=ID,NAME   those of the machine that its disk was copied of
//	arcbox.zone=ZONE    a time zone, for an image that has none
//	arcbox.net=MAC,ADDRESS/BITS,GATEWAY,DOMAIN  its interface, and what it is given
//	arcbox.log=DEVICE   where the agent logs; else hvc0, the second serial line, the console
//	arcbox.test=FAULT   a fault for tests to inject, several by comma:
//	                    hang             stop before modules, mounts and services
//	                    no-agent         boot, but never serve
//	                    ignore-shutdown  answer a shutdown or a power button, and do nothing
//
// Modules load while the rest is mounted and set up. The agent listens as soon
// as it can, before the host can connect. What fails is logged and
// passed over, for a machine that answers can be asked what is wrong with it.
// If process 1 ends, by a panic or otherwise, the kernel panics, and the
// engine boots it with panic=-1, so that the VM is never left hanging.
//
// Process 1 powers off on SIGUSR1, SIGUSR2 and SIGPWR (busybox halt and
// poweroff) and on the ACPI power button, and reboots on SIGTERM and SIGINT
// (busybox reboot, ctrl-alt-del). The button is heard once its modules are
// loaded, which may be a tenth of a second after the agent first answers.
// Before either, every process gets SIGTERM,
// after the grace SIGKILL, and every file system is unmounted or made
// read-only.
//
// # A root on disks
//
// With an image, two disks are found by their serials (package wire): the image,
// an EROFS file system that many machines share and none can write to, and the
// machine's own data disk, which has Btrfs on it. The file system of the data disk
// is grown to the disk's size; it is never made here. An overlay of the two becomes
// the root; /dev, /proc, /sys and /run move along, the initramfs is freed, and the
// data disk stays in sight at /run/arcbox/data. Then who the machine is
// (host name, hosts, machine-id, resolver, time zone) is written, where the machine
// itself never wrote it. What was written is kept on the data disk (identity), so that
// a machine that was renamed gets its new name where it still has the old one, and one
// whose disk is a copy of another's gets a machine-id and SSH host keys of its own.
//
// An init of the image takes process 1. Before, the agent is started anew beside
// it, in a session of its own, with the token over a pipe: it is no service, and
// lives for as long as the init lets it (see [BesideName]). Where the image
// has no init, the agent stays process 1. It tells when the init is ready: systemd
// says so itself, of OpenRC its files do. Where the root can't be had the machine
// ends with a reset, which before readiness is its end, and its console says why.
//
// # Services
//
// [Agent.Serve] takes any listener. A connection must come from an allowed
// peer and show the token within ten seconds; then gRPC begins on it. Pending
// and open connections, streams, messages, running programs and buffered
// stdin are all bounded.
//
// A program that exec runs leads a session and a process group of its own,
// which signals are sent to. The group is killed when the time limit is over
// or the client gone. The exec is done when the program has ended and its
// output is at its end; a child that it left behind and that holds the output
// open gets a fifth of a second, then its output is cut off and it runs on.
//
// With a terminal, the program's session has it as its controlling one, and
// INT, QUIT and TSTP go to the foreground group, as keys do. When the client
// goes the terminal is hung up; two seconds later what is left of the group is
// killed.
//
// [Agent.ServeSSH] serves SSH (vsock port 1022), behind the same preface. One key
// may log in, as any user of /etc/passwd. A session is a program as above; its
// time limit is the client's connection. SFTP is a program too: this one, as the
// user. Forwards lead out of the guest and into it; sockets are reached and made by
// the user.
//
// # Set-up
//
// [Agent.Provision] sets a machine up, once: it runs a script as root, by its first
// line's interpreter or by sh, in root's home, when the init is ready. It goes on
// without its callers, so that an engine may die meanwhile; who asks again with the
// same key joins it, or hears its result. Before the script begins, a mark is synced
// to /var/lib/arcbox/provision in the machine's root, and afterwards the result: a
// script that was begun and has no result was interrupted, and is not run again
// under that key. Where the root is memory, both are gone with what the script did,
// and it is run anew.
//
// With user-data, cloud-init does the work: what process 1 found in the initramfs
// it wrote to /var/lib/cloud/seed/nocloud before the init began, and the agent
// only waits for cloud-init's result.
//
// # Concurrency
//
// All exit statuses are collected in one place (children), under the lock
// that programs are started under: an orphan is reaped, a program of ours is
// reaped once, and its status goes to whoever started it. Nothing else in the
// process may start a program or wait for one.
package agent
