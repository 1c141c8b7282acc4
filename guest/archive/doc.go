// Package archive is a machine as one file, to be taken elsewhere or kept: what it
// is (a [Manifest]), its own disk without its holes, and, where that was asked
// for, its image. docs/archive.md describes the format, which is a tar that was
// packed with zstd; tools that everybody has take one apart.
//
//	manifest.json            the first
//	image.erofs              where the manifest has it with its image
//	disk/<offset>            a piece of the disk, at an offset of 16 hexadecimal
//	                         digits; what no piece has is zero
//	digests.json             the last: SHA-256 of all that came before
//
// Nothing is known of an archive's digests before its end, so that it can be
// written to a pipe and read from one. Who reads one puts what comes out of it
// where nobody sees it, until [Reader.Rest] has returned without an error.
//
// # Hostile archives
//
// The names are the four above and lead nowhere. Manifest and digests are bounded,
// pieces come at growing offsets within the disk, an image has the length that was
// said. A member that is missing, twice, or of another kind is refused by its name;
// a truncated or damaged archive says where it was when that was seen.
package archive
