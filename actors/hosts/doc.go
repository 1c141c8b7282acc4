// Package hosts is the world as the actors see it, for real: directories and
// locks on disk, VM hosts as processes, guests behind their agents. It
// implements actors.Hosts, actors.Guests and actors.Dirs; package
// actors/actorstest has the scripted world that tests use in its place.
//
// It keeps nothing that a restart would lose: what it knows of a machine is
// what the machine's directory, its lock and its VM host say. Every call is
// bounded by its context.
package hosts
