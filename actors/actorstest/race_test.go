//go:build race

package actorstest

// race: everything takes ten times as long.
const race = true
