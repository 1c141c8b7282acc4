// Command pour runs in a guest and writes bytes, as many as it is told: to its
// standard output (pour BYTES), or to whoever connects to a vsock port and asks
// for so many in 8 bytes, big endian (pour -port N). What comes of the two on
// the host is held against each other.
package main

import (
	"encoding/binary"
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
	port := flag.Uint("port", 0, "vsock port to listen on")
	flag.Parse()
	if *port == 0 {
		n, err := strconv.ParseInt(flag.Arg(0), 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		if err := pour(os.Stdout, n); err != nil {
			log.Fatal(err)
		}
		return
	}
	l, err := vsock.Listen(uint32(*port), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer c.Close()
	var n [8]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return
	}
	if err := pour(c, int64(binary.BigEndian.Uint64(n[:]))); err != nil {
		log.Print(err)
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
