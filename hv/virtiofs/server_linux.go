package virtiofs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// Options say how a share is served.
type Options struct {
	Share  hv.Share
	RunDir string   // for the socket, which is gone again when Start returns
	Lock   *os.File // is inherited: while virtiofsd lives, the machine is not free
	Fork   func(path string, argv []string, attr *os.ProcAttr) (*os.Process, error)
	Output io.Writer // takes what virtiofsd prints, until Done
}

// Server is one virtiofsd.
type Server struct {
	// Socket is the connected end for the hypervisor, who closes it.
	Socket *os.File
	proc   *os.Process
	done   chan struct{}
	state  *os.ProcessState
}

// startTime bounds how long virtiofsd may take to answer.
const startTime = 10 * time.Second

// Start runs a virtiofsd that answers. On an error nothing is left running.
func Start(ctx context.Context, o Options) (*Server, error) {
	server, err := Find()
	if err != nil {
		return nil, err
	}
	shell, err := exec.LookPath("unshare")
	if err != nil {
		return nil, fmt.Errorf("share: %w (apt-get install util-linux)", err)
	}
	listener, conn, err := connect(filepath.Join(o.RunDir, o.Share.Tag+".sock"))
	if err != nil {
		return nil, fmt.Errorf("share: socket: %w", err)
	}
	defer conn.Close() //nolint:errcheck // Socket is a copy
	s, err := o.spawn(server, shell, listener)
	_ = listener.Close()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err = s.await(ctx, conn); err == nil {
		if s.Socket, err = conn.File(); err == nil {
			err = unix.SetNonblock(int(s.Socket.Fd()), false) // as QEMU expects what it inherits
		}
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// connect makes a listening socket for virtiofsd, and a connection that waits in it.
// Nobody else can find it afterwards.
func connect(path string) (*os.File, *net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close() //nolint:errcheck // the file is a copy; the path goes with it
	f, err := l.File()
	if err != nil {
		return nil, nil, err
	}
	c, err := net.DialUnix("unix", nil, addr)
	if err == nil {
		if err = unix.SetNonblock(int(f.Fd()), false); err != nil {
			_ = c.Close()
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, c, nil
}

func (o Options) spawn(server, shell string, listener *os.File) (*Server, error) {
	files := make([]*os.File, fdCount)
	var err error
	if files[fdNull], err = os.Open(os.DevNull); err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	defer files[fdNull].Close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	defer self.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	files[fdOutput], files[fdOutput+1], files[fdLock], files[fdSocket], files[fdSelf] = w, w, o.Lock, listener, self
	words := argv(o.Share.Writable, os.Geteuid() == 0, o.Share.Path, server, strconv.Itoa(os.Getpid()))
	proc, err := o.Fork(shell, words, &os.ProcAttr{Dir: "/", Env: []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"}, Files: files})
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("share: start virtiofsd: %w", err)
	}
	s := &Server{proc: proc, done: make(chan struct{})}
	go s.follow(r, o.Output)
	return s, nil
}

// follow reads what it prints and reaps it.
func (s *Server) follow(r *os.File, out io.Writer) {
	_, _ = io.Copy(out, r) // ends with all that have it as their output
	_ = r.Close()
	s.state, _ = s.proc.Wait()
	close(s.done)
}

// await asks virtiofsd for its features, as the hypervisor will again, so that one
// that can't serve is known before a VM depends on it.
func (s *Server) await(ctx context.Context, c *net.UnixConn) error {
	const (
		getFeatures = 1
		version     = 1
	)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	ask := binary.NativeEndian.AppendUint32(nil, getFeatures)
	ask = binary.NativeEndian.AppendUint32(ask, version)
	ask = binary.NativeEndian.AppendUint32(ask, 0) // bytes that follow
	_, err := c.Write(ask)
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, len(ask)+8))
	}
	switch {
	case err == nil && stop():
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("virtiofsd did not answer: %w", ctx.Err())
	}
	return errors.New("virtiofsd ended at once")
}

// Done is closed when virtiofsd has ended and all that it printed was taken.
func (s *Server) Done() <-chan struct{} { return s.done }

// Ended says how, once it is Done.
func (s *Server) Ended() string {
	if s.state == nil {
		return "its status could not be had"
	}
	return s.state.String()
}

// Stop ends virtiofsd and awaits that. Its own child dies with it.
func (s *Server) Stop() {
	_ = s.proc.Kill() // already dead is fine
	<-s.done
}
