// Package typetest type-checks from any system what only macOS can build: the
// driver of Virtualization.framework, which needs cgo, and the command that links
// it. It holds tests only.
//
// `go list` says which files a package has on that system, without a C compiler;
// go/types checks them and all that they import, with FakeImportC in place of what
// cgo would make. It proves types: no linking, no Objective-C, no run. Faults are
// planted, to show what is caught.
package typetest
