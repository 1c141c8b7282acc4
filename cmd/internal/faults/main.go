package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of one fault.
const (
	buildTime = 10 * time.Minute // of a cold cache, too
	testTime  = 2 * time.Minute
)

// attempt is one run over the faults.
type attempt struct {
	root, tmp string
	turns     chan struct{} // one for each processor

	mu        sync.Mutex
	binaries  map[string]func() (string, error) // of packages without a fault
	contented map[string]func() error           // tests that pass without one
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("faults: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	only := flag.String("only", "", "regular expression: the names of the faults to make")
	flag.Parse()
	if runtime.GOOS != "linux" {
		return errors.New("some of the tests that find faults are for Linux alone")
	}
	pick, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	a := &attempt{
		root: ".", turns: make(chan struct{}, runtime.NumCPU()),
		binaries: map[string]func() (string, error){}, contented: map[string]func() error{},
	}
	if a.tmp, err = os.MkdirTemp("", "faults"); err != nil {
		return fmt.Errorf("scratch directory: %w", err)
	}
	defer os.RemoveAll(a.tmp)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return a.all(ctx, pick)
}

// all makes the faults, as many at once as there are processors.
func (a *attempt) all(ctx context.Context, pick *regexp.Regexp) error {
	begun, made, wrong := time.Now(), 0, 0
	var each sync.WaitGroup
	for _, f := range all() {
		if !pick.MatchString(f.name) {
			continue
		}
		made++
		each.Go(func() {
			a.turns <- struct{}{}
			defer func() { <-a.turns }()
			err, said := a.passesWithout(ctx, f), ""
			began := time.Now()
			if err == nil {
				said, err = a.make(ctx, f)
			}
			line := fmt.Sprintf("%-50s %-65s %3.0f s  %s", f.name, f.run+" "+f.pkg, time.Since(began).Seconds(), said)
			a.mu.Lock()
			defer a.mu.Unlock()
			if err != nil {
				wrong++
				line = fmt.Sprintf("%-50s FAILED: %v", f.name, err)
			}
			fmt.Println(line)
		})
	}
	each.Wait()
	if made == 0 {
		return errors.New("-only: no fault has such a name")
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d faults were not caught by a test", wrong, made)
	}
	fmt.Printf("%d faults, each caught, in %s\n", made, time.Since(begun).Round(time.Second))
	return nil
}

// make makes one fault and returns the first words of the test that finds it.
func (a *attempt) make(ctx context.Context, f fault) (string, error) {
	dir, err := os.MkdirTemp(a.tmp, "fault")
	if err != nil {
		return "", fmt.Errorf("scratch directory: %w", err)
	}
	defer os.RemoveAll(dir)
	list, err := f.overlay(a.root, dir)
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "test")
	if err := a.build(ctx, f.pkg, bin, "-overlay", list); err != nil {
		return "", fmt.Errorf("with the fault: %w", err)
	}
	switch v := a.test(ctx, f, bin); {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case v.passed:
		return "", fmt.Errorf("not caught: %s passes, and it does not hold that %s", f.run, f.breaks)
	case !v.failed:
		return "", fmt.Errorf("%s ends without a judgment: %s", f.run, v.failure)
	default:
		return v.failure, nil
	}
}

// passesWithout runs a fault's test on the code as it is, once for all faults
// that it has to find.
func (a *attempt) passesWithout(ctx context.Context, f fault) error {
	a.mu.Lock()
	binary := a.binaries[f.pkg]
	if binary == nil {
		bin := filepath.Join(a.tmp, strings.NewReplacer("/", "-", ".", "").Replace(f.pkg))
		binary = sync.OnceValues(func() (string, error) { return bin, a.build(ctx, f.pkg, bin) })
		a.binaries[f.pkg] = binary
	}
	key := f.pkg + " " + f.run
	content := a.contented[key]
	if content == nil {
		content = sync.OnceValue(func() error {
			bin, err := binary()
			if err != nil {
				return err
			}
			if v := a.test(ctx, f, bin); !v.ran {
				return fmt.Errorf("%s: there is no such test in %s", f.run, f.pkg)
			} else if !v.passed {
				return fmt.Errorf("%s fails without the fault: %s", f.run, v.failure)
			}
			return nil
		})
		a.contented[key] = content
	}
	a.mu.Unlock()
	return content()
}

// build compiles a package's tests, without the race detector.
func (a *attempt) build(ctx context.Context, pkg, bin string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	args = append(append([]string{"test", "-c", "-vet=off", "-o", bin}, args...), pkg)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = a.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not compile: %w\n%s", pkg, err, out)
	}
	return nil
}

// test runs one test as go test does, in its package's directory.
func (a *attempt) test(ctx context.Context, f fault, bin string) verdict {
	ctx, cancel := context.WithTimeout(ctx, testTime+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.count=1", "-test.timeout="+testTime.String(), "-test.run="+f.run)
	cmd.Dir = filepath.Join(a.root, filepath.FromSlash(f.pkg))
	cmd.WaitDelay = 5 * time.Second // processes that it leaves behind may hold its output
	out, err := cmd.CombinedOutput()
	return judge(string(out), err)
}
