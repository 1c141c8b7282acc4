package wire

// The serials by which a guest finds the disks of a machine with an image.
const (
	SerialImage   = "image"   // read-only, EROFS, shared by all machines of the image
	SerialModules = "modules" // read-only, EROFS, all modules of the kernel
	SerialData    = "data"    // the machine's own, Btrfs
)
