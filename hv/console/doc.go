// Package console reads what guests and hypervisors print: to its end always, for
// a console that nobody reads holds up its guest; and it keeps of that what says
// why a VM ended.
package console
