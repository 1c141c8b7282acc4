// Package buildid says what a build of the agent is called: twelve digits of the
// digest that Go's linker puts into each program, of all that the program is. The
// same source, built with the same Go and the same flags, has the same name, and
// whatever is changed has another, without a version being stamped into the bytes.
package buildid
