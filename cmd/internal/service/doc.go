// Package service makes what a service manager is told about the engine: units
// of systemd and property lists of launchd, from templates and the values of one
// home. It touches nothing; cmd/arcbox puts the files where they belong.
//
// Each file begins with a stamp, the digest of what follows it, by which a file
// that somebody edited is told from one of ours.
package service
