// Package examples reads the examples out of a document, and compares what a
// command printed with what the document says it prints. Whoever uses it runs
// the commands (cmd/e2e does, in a bed with real machines).
//
// An example is in a fenced block of Markdown that is marked console:
//
//	```console
//	$ arcbox list -q
//	db
//	web
//	```
//
// A line that begins with "$ " is a command; lines behind it that begin with
// "> " belong to it, as where a shell asks for the rest of a here-document.
// What follows, up to the next command, is what a terminal would show: standard
// output and standard error. In it
//
//   - "..." stands for any text within a line, also for none;
//   - a line with nothing but "..." stands for any lines, also for none;
//   - blanks in a row are as one, and those at the end of a line, and empty lines
//     at the end of an output, count for nothing: columns are as wide as ids
//     and addresses happen to be.
//
// All else has to be the same. Where nothing follows, nothing may be printed. A
// command has to end with status 0: one that is to fail says so by "; echo $?".
//
// A block that is marked sh is one that no test can run (it needs another host,
// or root, or a person), and is counted. Blocks with other marks are no
// examples.
package examples
