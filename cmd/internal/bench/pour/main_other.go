//go:build !linux

package main

func main() { panic("pour runs in a Linux guest") }
