// Package archtest keeps the shape of the module: which package may import
// which (table.go is the truth; ARCHITECTURE.md shows it), and what a binary
// must not link, each with its reason. It holds tests only.
//
// A new package needs a row, a row that lost its package goes. Files are parsed
// whatever their build tags, so that code for another system obeys too.
package archtest
