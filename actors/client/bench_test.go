package client_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func ownUID() string { return fmt.Sprintf("uid:%d", os.Geteuid()) }

func BenchmarkRoundTrip(b *testing.B) {
	socket := socketOf(b)
	startEngine(b, socket, newHistory(0), nil)
	c := dial(b, socket)
	for b.Loop() {
		if _, err := client.Call[*wire.Machines](b.Context(), c, &wire.ListMachines{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoundTripParallel(b *testing.B) {
	socket := socketOf(b)
	startEngine(b, socket, newHistory(0), nil)
	c := dial(b, socket)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.Call[*wire.Machines](b.Context(), c, &wire.ListMachines{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkDial is a connection, one question, and its end, in a warm process.
func BenchmarkDial(b *testing.B) {
	socket := socketOf(b)
	startEngine(b, socket, newHistory(0), nil)
	for b.Loop() {
		if err := askOnce(b, socket); err != nil {
			b.Fatal(err)
		}
	}
}

func askOnce(t testing.TB, socket string) error {
	c, err := client.Dial(t.Context(), client.Socket(socket))
	if err != nil {
		return err
	}
	if _, err := client.Call[*wire.Machines](t.Context(), c, &wire.ListMachines{}); err != nil {
		return err
	}
	return c.Close()
}

const coldSocket = "ARCBOX_BENCH_COLD_SOCKET"

// TestColdClient is the process that BenchmarkColdClient starts; by itself it
// has nobody to ask.
func TestColdClient(t *testing.T) {
	if socket := os.Getenv(coldSocket); socket != "" {
		if err := askOnce(t, socket); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkColdClient is a whole process: start, connect, one question, exit.
func BenchmarkColdClient(b *testing.B) {
	socket := socketOf(b)
	startEngine(b, socket, newHistory(0), nil)
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestColdClient$")
		cmd.Env = append(os.Environ(), coldSocket+"="+socket)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
}
