package vmhost

import "os"

// onMainThread can't be asked here; nothing depends on it, for there is no
// parent-death signal.
func onMainThread() bool { return true }

func withDeathSignal(attr *os.ProcAttr) *os.ProcAttr {
	if attr == nil {
		return &os.ProcAttr{}
	}
	return attr
}
