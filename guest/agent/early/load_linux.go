package early

import (
	"errors"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	moduleList = "/lib/modules.order"
	rootList   = "/lib/modules.root"
	shareList  = "/lib/modules.share"
	// socket is the module with which an agent can listen. It should, before
	// the host can connect: a connection that comes first is refused, and its
	// next attempt may be half a second away.
	socket = "vsock.ko"
	// hang is the fault that stops the machine before anything is loaded.
	hang = "hang"
)

// Mount is a file system that a machine needs.
type Mount struct {
	Kind, On, Options string
	Flags             uintptr
}

// Mounts are there before any module is loaded.
var Mounts = []Mount{
	{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
}

// Result is one step: a mount, the list, or a module.
type Result struct {
	Path string
	Took time.Duration
	Err  error
}

var (
	mounted   = make(chan struct{})
	canListen = make(chan struct{})
	done      = make(chan struct{})
	// Written before done is closed, read after.
	first, second results
)

func init() {
	if os.Getpid() == 1 {
		go begin()
	}
}

// Mounted is closed when the Mounts had their turn, and the machine is not to
// hang.
func Mounted() <-chan struct{} { return mounted }

// CanListen is closed when vsock sockets can be made, or never will be.
func CanListen() <-chan struct{} { return canListen }

// Results are the steps in order. It waits for the last.
func Results() []Result {
	<-done
	return append(first[:len(first):len(first)], second...)
}

// results are the steps of one list.
type results []Result

func begin() {
	defer close(done)
	for _, m := range Mounts {
		first.step(m.On, m.Do)
	}
	if cmdline, err := os.ReadFile("/proc/cmdline"); err == nil && Fault(string(cmdline), hang) {
		for {
			unix.Pause() //nolint:errcheck // it returns after each signal
		}
	}
	close(mounted)
	loaded, both := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(both)
		second.beside(loaded)
	}()
	first.all()
	close(loaded)
	<-both
}

// all loads what every machine needs.
func (r *results) all() {
	listening := false
	for _, p := range r.list(moduleList) {
		r.step(p, func() error { return load(p) })
		if !listening && strings.HasPrefix(path.Base(p), socket) {
			listening = true
			close(canListen)
		}
	}
	if !listening {
		close(canListen)
	}
}

// beside loads what a machine with an image, or with shares, needs. A module that needs one of the
// other list is tried again when that is loaded.
func (r *results) beside(loaded <-chan struct{}) {
	var paths []string
	for _, list := range []string{rootList, shareList} {
		if _, err := os.Stat(list); err == nil {
			paths = append(paths, r.list(list)...)
		}
	}
	for _, p := range paths {
		r.step(p, func() error {
			err := load(p)
			if errors.Is(err, unix.ENOENT) { // an unknown symbol
				<-loaded
				err = load(p)
			}
			return err
		})
	}
}

func (r *results) list(file string) (paths []string) {
	r.step(file, func() error {
		text, err := os.ReadFile(file)
		if err == nil {
			paths, err = parseModules(text)
		}
		return err
	})
	return paths
}

func (r *results) step(name string, do func() error) {
	begun := time.Now()
	err := do()
	*r = append(*r, Result{Path: name, Took: time.Since(begun), Err: err})
}

// Do mounts. What the kernel has mounted by itself is no failure.
func (m Mount) Do() error {
	if err := os.MkdirAll(m.On, 0o755); err != nil && !os.IsPermission(err) {
		return err
	}
	err := unix.Mount(m.Kind, m.On, m.Kind, m.Flags, m.Options)
	if err == unix.EBUSY {
		return nil
	}
	return err
}

// load loads one module.
func load(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(p, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
