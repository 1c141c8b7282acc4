//go:build cgo

package vz

import "github.com/arcboxlabs/arcbox-engine/hv"

// save is of Apple silicon, and so is restore; what asks for them does not get here.
func (a *apple) save(string) error { return hv.ErrUnsupported }

func (a *apple) restore(string) error { return hv.ErrUnsupported }
