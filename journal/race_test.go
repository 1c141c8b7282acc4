//go:build race

package journal

// Under the race detector, which makes everything seven times as slow, the long
// loops take one case of so many, and recover from one of those of so many.
const (
	stride      = 151
	recoverEach = 5
)
