//go:build !linux

package main

import "log/slog"

// handOver: launchd has no sockets that could stand in an engine's place.
func handOver(string, *slog.Logger) bool { return false }
