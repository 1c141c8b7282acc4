//go:build cgo

package vz

// save writes a VM that is paused. It checks that this macOS can, and the configuration.
func (a *apple) save(path string) error { return a.vm.SaveMachineStateToPath(path) }

// restore reads what save wrote into a VM that was never started, which is paused then.
func (a *apple) restore(path string) error { return a.vm.RestoreMachineStateFromURL(path) }
