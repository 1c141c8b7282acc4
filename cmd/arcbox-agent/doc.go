// Command arcbox-agent is the first process of a machine: /init of its
// initramfs, a static binary. Its services and its boot are package
// guest/agent.
package main
