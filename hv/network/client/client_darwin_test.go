package client

import "golang.org/x/sys/unix"

// peerPid is who is at the other end of a socket, 0 = nobody knows.
func peerPid(fd int) int {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0
	}
	return pid
}
