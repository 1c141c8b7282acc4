//go:build race

package vmhost_test

// raceFactor is how many times the memory the race detector takes, at most.
const raceFactor = 6
