// Package packed reads what may be compressed: plain, with gzip, xz or zstd,
// whichever its first bytes name. Whatever a file claims, no decoder takes more
// memory than the tools need for what they make unasked.
package packed
