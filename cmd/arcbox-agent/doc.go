// Command arcbox-agent is the first process of a machine: /init of its
// initramfs, a static binary. Its services and its boot are package
// guest/agent. As "arcbox-agent sftp-server" it serves SFTP on its standard
// streams: the first process starts it so.
package main
