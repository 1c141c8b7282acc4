//go:build unix && !linux

package main

// heldByManager: launchd does not listen for the engine.
func heldByManager(string) bool { return false }
