//go:build !race

package vmhost_test

const raceFactor = 1
