package wire

// The serials by which a guest finds the disks of a machine with an image.
const (
	SerialImage = "image" // read-only, EROFS, shared by all machines of the image
	SerialData  = "data"  // the machine's own, Btrfs
)
