// Package sim is the one scripted VM: a driver whose guest is a few goroutines.
// It runs inside arcbox-vmhost like any other driver, so that everything above
// the driver is tested with real processes, locks and sockets, and without a
// hypervisor.
//
// # Script
//
// A sim VM does what spec.Script says, words separated by ";":
//
//	boot=20ms                from the start until the agent listens (0)
//	start-takes=1s           how long the driver's start takes (0)
//	start-fails              the driver's start fails
//	cids-taken=BELOW         somebody else has all CIDs below this one
//	agent=ok|never|hang      answers; its port is refused; takes connections and says nothing (ok)
//	ignore-shutdown          the power button and the agent's shutdown change nothing
//	shutdown-takes=2s        from being asked to shut down to being off (0)
//	save-takes=2s            how long it takes to save its guest, which meanwhile runs (0)
//	save-fails               its guest can't be saved
//	exit-after=5s:crashed    ends so long after its start; cause powered-off, killed,
//	                         crashed, guest-panic or launch-failed (crashed)
//	panic-after=5s           says panicked, then ends with guest-panic
//	poweroff-after=5s        ends with powered-off
//	reboot-after=5s          resets: the end before AllowReboot, a reboot after it
//	console=TEXT             printed on the console at boot
//
// An empty script is a VM that boots at once and behaves.
//
// # Guest
//
// Port 1024 speaks the agent's protocol after the preface with the launch's
// token (package guest/wire). Its exec knows true, false, echo, cat (of its
// standard input, or of /proc/sys/kernel/random/boot_id), sleep SECONDS, and
// sh -c 'exit N'; all else is not found (127). Port 7 echoes. Every other port
// is refused. The boot id stays for a launch until the guest reboots,
// and beyond it where the guest is saved; then of what the script times the rest
// follows in the launch that goes on.
//
// Connections are socket pairs: deadlines, half-close and resets are the
// kernel's.
package sim
