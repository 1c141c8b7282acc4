// Package e2e holds the tests that use the built binaries as a person would:
// real engines, real VM hosts, real guests under QEMU. They carry the build
// tags vm (the first machine, part of ./task test) and e2e (the long
// scenarios), and find the binaries by ARCBOX_BIN.
package e2e
