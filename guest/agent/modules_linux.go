package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// loadModules loads what the list names, in its order. What can't be loaded is
// logged: the kernel's own message goes to the console.
func loadModules(list string, log *slog.Logger) {
	text, err := os.ReadFile(list)
	if err != nil {
		log.Warn("modules", "err", err)
		return
	}
	paths, err := parseModules(text)
	if err != nil {
		log.Warn("modules", "list", list, "err", err)
	}
	for _, path := range paths {
		begun := time.Now()
		if err := loadModule(path); err != nil {
			log.Warn("module", "path", path, "err", err)
			continue
		}
		log.Debug("module", "path", path, "took", time.Since(begun).Round(100*time.Microsecond))
	}
}

// loadModule takes it for good news that the module is there already, or has
// no device to serve.
func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if err == nil || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("load: %w", err)
}
