package actors

import "errors"

// ErrNoSave is the answer of a VM whose guest can't be saved, by its backend, by what it
// has, or by the age of its VM host.
var ErrNoSave = errors.New("its VM can't be suspended")
