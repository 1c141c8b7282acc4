package qemu

const hasTSC = true

// readTSC reads the time-stamp counter, behind all that came before.
func readTSC() uint64
