package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	bin  string // directory of the built binaries
	tmp  string // of this run; short, for sockets lie below it
	out  table
	virt *libvirt // nil where it is not installed
}

// part is a measurement that adds rows.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

var parts = []part{
	{"boot", (*bench).boot},
	{"kernels", (*bench).kernels},
	{"exec", (*bench).execs},
	{"stream", (*bench).stream},
	{"network", (*bench).network},
	{"share", (*bench).shares},
	{"image", (*bench).images},
	{"list", (*bench).list},
	{"create", (*bench).create},
	{"append", (*bench).appends},
	{"open", (*bench).open},
	{"past", (*bench).past},
	{"adopt", (*bench).adopt},
	{"memory", (*bench).memory},
	{"rest", (*bench).rest},
}

func main() {
	log.SetFlags(log.Ltime)
	log.SetPrefix("bench: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	bin := flag.String("bin", "bin", "directory of the built binaries")
	out := flag.String("out", "", "file for the table (default: standard output)")
	only := flag.String("only", "", "regular expression: the parts to run")
	keep := flag.Bool("keep", false, "leave the run's directory behind")
	flag.Parse()
	pick, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	b := &bench{}
	if b.bin, err = filepath.Abs(*bin); err != nil {
		return fmt.Errorf("-bin: %w", err)
	}
	if b.tmp, err = os.MkdirTemp("", "abx"); err != nil {
		return fmt.Errorf("scratch directory: %w", err)
	}
	if !*keep {
		defer os.RemoveAll(b.tmp)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.all(ctx, pick); err != nil {
		return err
	}
	if *out == "" {
		return b.out.write(os.Stdout)
	}
	return b.out.save(*out)
}

// all runs the parts. One that fails leaves its error in the table and the
// others their turn.
func (b *bench) all(ctx context.Context, pick *regexp.Regexp) error {
	b.out.host = describeHost(ctx)
	if b.virt = findLibvirt(b.tmp); b.virt == nil {
		log.Print("libvirt is not installed: its columns stay empty")
	} else {
		defer b.virt.close()
	}
	for _, p := range parts {
		if !pick.MatchString(p.name) {
			continue
		}
		begun := time.Now()
		if err := p.run(b, ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			log.Printf("%s: %v", p.name, err)
			b.out.add(row{what: p.name, remark: "not measured: " + err.Error()})
		}
		log.Printf("%s: took %s", p.name, time.Since(begun).Round(100*time.Millisecond))
	}
	b.out.host.loadAfter = load()
	return nil
}
