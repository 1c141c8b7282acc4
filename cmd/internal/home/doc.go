// Package home says where the things of one engine lie. The CLI and the engine
// both ask it, so that they never look in different places.
//
// With ARCBOX_HOME everything of an engine is under that one directory, so
// that several engines run side by side:
//
//	$ARCBOX_HOME/data   journal, machines, images, kernels
//	$ARCBOX_HOME/run    sockets
//	$ARCBOX_HOME/log    the engine's log
//	$ARCBOX_HOME/boot   kernels and initramfs
//
// Without it the XDG directories are used:
//
//	$XDG_DATA_HOME/arcbox    ~/.local/share/arcbox   journal, machines, images, kernels
//	$XDG_RUNTIME_DIR/arcbox  ~/.arcbox/run           sockets
//	$XDG_STATE_HOME/arcbox   ~/.local/state/arcbox   the engine's log
//
// Kernels and initramfs are looked for in boot of the data directory (of
// ARCBOX_HOME where that is set), then in $XDG_CACHE_HOME/arcbox/boot
// (~/.cache/arcbox/boot), then in /usr/share/arcbox/boot.
//
// As the XDG specification has it, a relative XDG path counts as not set, and
// a runtime directory counts only where it exists and is the user's own: one
// that sudo -E carried over belongs to somebody else, who could put a socket
// of his own there.
//
// Nothing is created here. The path of a unix socket is limited by the kernel,
// so a home that leaves no room for the sockets of machines is refused with an
// error that names the limit.
package home
