// Package files is what the stores of images, kernels, disks and boot assets agree
// on with the file system: a file has its name only when it is whole and synced
// ([Replace]), who changes a directory holds a lock that ends with its process
// ([Take]), and what is read is a regular file of bounded size ([Read]). Where a file
// has data, and where holes, [NextData] tells. [ListenSocket] makes a socket where only
// a dead one is.
package files
