//go:build !race

package actorstest

const race = false
