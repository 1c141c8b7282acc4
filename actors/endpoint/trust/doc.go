// Package trust keeps who of other hosts may use an engine: its own certificate
// authority, invitations that were not taken yet, and clients by the digest of
// their key.
//
// All of it is one file of mode 0600, replaced as a whole and synced before
// anybody is told: an invitation that was taken is gone from the disk before its
// certificate leaves, whenever the process is killed; a client that was revoked
// is gone before that is said. The file holds the engine's keys, and of
// invitations digests only; keys of clients never come here.
//
// A client is let in whose certificate is ours, is not over, and has a key that
// the file names. That is asked at each handshake: there is no list of what is
// revoked, and no certificate that outlives its line.
package trust
