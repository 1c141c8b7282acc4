# shellcheck shell=sh
# What the scripts here share. Each is started by the Taskfile in the
# repository's directory.

die() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# as_root CMD... runs a command as root: as it is, or through sudo.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif has sudo; then
		sudo "$@"
	else
		die "root is needed for: $* (run that as root, or install sudo)"
	fi
}

# apt CMD... is apt-get without questions. It waits for another apt to end.
apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

cache() { echo "${XDG_CACHE_HOME:-$HOME/.cache}/arcbox"; }
