// Package tree reads and writes trees of files as the parts of a copy between
// host and guest (wire.CopyPart). Both sides use it: the agent, which is root,
// and the command, whose other side is a guest that may be hostile.
//
// It is no tar: the standard library's writer knows no sparse files, and a
// name there is a path, which has to be kept from leading out. Here a name is
// one component, and what is in a directory stands between its entry and its
// end, so that there is nothing to lead out with.
//
// # Reading
//
// [Send] follows links on the way to what it was asked for, and none inside.
// Runs of zeros and holes are not sent. A file that changes meanwhile is read
// as it comes, up to the size that it had.
//
// # Writing
//
// [Receive] works below an os.Root, so that neither names nor links nor
// whoever changes the target meanwhile lead it out. A file is written beside
// its place under another name, and renamed when it is whole: a copy that is
// cut short leaves whole files only. Bits that grant another's rights (setuid,
// setgid) are not copied, nor are owners: what is written is the writer's, the
// Owner's, or whose the file was that it replaces. Links that lead out of the copy are left out unless Links says
// otherwise, and so are devices, sockets and pipes; [Stats] tells what was.
package tree
