//go:build !race

package journal

const (
	stride      = 1 // all
	recoverEach = 20
)
