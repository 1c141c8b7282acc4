// Command init is the /init of the tests' guests: it loads the modules that it
// was given, says what it finds, and powers off.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	start := uptime()
	for dir, kind := range map[string]string{"dev": "devtmpfs", "proc": "proc", "sys": "sysfs"} {
		must(unix.Mount(dir, "/"+dir, kind, 0, ""))
	}
	order, err := os.ReadFile("/lib/modules.order")
	must(err)
	for _, path := range strings.Fields(string(order)) {
		f, err := os.Open(path)
		must(err)
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			fmt.Printf("MODULE %s: %v\n", path, err)
		}
		f.Close()
	}
	token, err := os.ReadFile("/arcbox/token")
	must(err)
	fi, err := os.Stat("/arcbox/token")
	must(err)
	fmt.Printf("TOKEN %s %o\n", token, fi.Mode().Perm())
	shell, err := exec.Command("/bin/sh", "-c", "echo $(ls /lib/modules/*/ | wc -l) modules by $(readlink /bin/ls)").Output()
	fmt.Printf("SHELL %s %v\n", strings.TrimSpace(string(shell)), err)
	fmt.Printf("INIT %v after the kernel's start\n", start)
	must(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

func uptime() time.Duration {
	var ts unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts))
	return time.Duration(ts.Nano()).Round(time.Millisecond)
}

func must(err error) {
	if err != nil {
		fmt.Println("FAILED", err)
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
}
