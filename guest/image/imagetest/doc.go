// Package imagetest serves images to tests: archives, an index of machine images
// in the simplestreams form, and a container registry, all of them in the
// process of the test, so that no public host is asked.
package imagetest
