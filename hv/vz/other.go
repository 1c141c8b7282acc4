//go:build !darwin || !cgo

package vz

// ofThisMac has nothing to make VMs with: this is no Mac, or a build without cgo.
func ofThisMac() framework { return framework{} }
