// Command pour runs in a guest and writes bytes, as many as it is told: to its
// standard output (pour BYTES), to whoever connects to a vsock port and asks
// for so many in 8 bytes, big endian (pour -port N), or over TCP, where it takes
// as many likewise (pour -tcp ADDRESS). What comes of them on the host is held
// against each other. It also reads from another guest's TCP port (pour -fetch
// ADDRESS BYTES), and asks a DNS server (pour -ask SERVER NAME TIMES). As the
// first process of a guest it serves TCP port 5000, in QEMU's user network.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"

	"github.com/mdlayher/vsock"
)

const size = 64 << 10 // of a write: the most that a packet of vsock carries

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	port := flag.Uint("port", 0, "vsock port to listen on")
	tcp := flag.String("tcp", "", "TCP address to listen on")
	from := flag.String("fetch", "", "TCP address to read from")
	server := flag.String("ask", "", "DNS server to ask")
	if os.Getpid() == 1 { // what arguments it has are the kernel's
		if err := asInit(); err != nil {
			return err
		}
		return serveTCP(":5000")
	}
	flag.Parse()
	switch {
	case *tcp != "":
		return serveTCP(*tcp)
	case *port != 0:
		return serveVsock(uint32(*port))
	}
	n, err := strconv.ParseInt(flag.Arg(flag.NArg()-1), 10, 64)
	switch {
	case err != nil:
		return err
	case *from != "":
		return fetch(*from, n)
	case *server != "":
		return ask(*server, flag.Arg(0), n)
	}
	return pour(os.Stdout, n)
}

func serveVsock(port uint32) error {
	l, err := vsock.Listen(port, nil)
	if err != nil {
		return err
	}
	return serve(l, func(c net.Conn) error {
		var n [8]byte
		if _, err := io.ReadFull(c, n[:]); err != nil {
			return err
		}
		return pour(c, int64(binary.BigEndian.Uint64(n[:])))
	})
}

// serve says that it listens, and answers whoever connects.
func serve(l net.Listener, answer func(net.Conn) error) error {
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := answer(c); err != nil && !errors.Is(err, io.EOF) {
				log.Print(err)
			}
		}()
	}
}

func pour(w io.Writer, n int64) error {
	buf := make([]byte, size)
	for n > 0 {
		k := min(n, size)
		if _, err := w.Write(buf[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}
