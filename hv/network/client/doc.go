// Package client is the engine's side of the network process: it says which
// machines belong to the network, and sees to it that a process runs for as long
// as any does.
//
// What is wanted is kept here and is told anew to every process, so that one
// that died or was killed is replaced without anybody else's doing. A process
// that was there before this engine is taken over; one that holds the network's
// lock and does not answer is killed by the kernel's word (package
// hv/vmhost/client). Nothing here waits for the process: [Network.Set] and
// [Network.Drop] only say what is wanted, [Network.State] what was last heard.
package client
