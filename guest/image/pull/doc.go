// Package pull brings images into a store, from three kinds of sources:
//
//	archives           a root file system as a tar, a file or a URL; read once,
//	                   its digest checked before anything of it is used
//	registries         of container images, by go-containerregistry; layers are
//	                   downloaded first, because merging reads them twice
//	machine images     of a simplestreams index: two JSON files that lead to an
//	                   archive and its digest
//
// Every source has an offer for a reference: where the image is from, by which
// digest, and how to build it. What is there already from that origin is not
// built again.
//
// Whatever comes from a server is hostile until its digest says otherwise, and
// also then: sizes are bounded, a server that stalls is given up after a minute,
// and https is never left for http.
package pull
