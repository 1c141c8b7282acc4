// Command faults shows that the tests can fail: it makes faults on purpose, one
// at a time, and expects a test to find each. A fault breaks a promise in one
// place: some lines of one file are replaced, in a copy that `go test -overlay`
// compiles instead. The checkout is not touched.
//
// The faults stand in tables: engine.go, journal.go, host.go, hostile.go. What
// must hold of each, else the run fails:
//
//   - the lines that it replaces stand in their file once (a test here looks at
//     that, so that the tables follow the code);
//   - with it, the package's tests compile;
//   - without it, the test that is named passes;
//   - with it, that test fails by its own judgment: one that hangs, or that a
//     panic of the test binary ends, has found nothing.
//
// A fault that no test finds is a test that is missing.
package main
