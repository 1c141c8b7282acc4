// Package hvtest is the suite that every driver passes: what package hv
// promises of a driver and its VMs, as tests. A driver's own tests call [Run]
// with a [Subject]; what a backend says it can't do must be refused with
// hv.ErrUnsupported.
//
// The suite starts a handful of VMs, one after the other, and leaves none.
// Every wait is bounded by Subject.Patience.
package hvtest
