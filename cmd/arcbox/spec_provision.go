package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// What a set-up may be; the engine knows it too.
const (
	maxProvision     = 64 << 10 // bytes
	defaultProvision = 30 * time.Minute
)

// provisionFlags say how a machine is set up, once.
type provisionFlags struct {
	script, userData string // paths
	limit            limitValue
}

var provisionNames = []string{"user-data", "provision", "provision-timeout"}

func (p *provisionFlags) add(cmd *cobra.Command) {
	p.limit = limitValue(defaultProvision)
	f := cmd.Flags()
	f.StringVar(&p.userData, "user-data", "", "a file for the cloud-init of the image, at the machine's first boot")
	f.StringVar(&p.script, "provision", "", "a script to run once in the machine as root, when it has booted first")
	f.Var(&p.limit, "provision-timeout", "how long either may take")
}

// read reads what sets the machine up; nil where nothing does.
func (p *provisionFlags) read(cmd *cobra.Command, image string) (*wire.Provision, error) {
	flags := cmd.Flags()
	kind, flag, path := "script", "provision", p.script
	switch script, userData := flags.Changed("provision"), flags.Changed("user-data"); {
	case script && userData:
		return nil, badInput("user-data", "--user-data and --provision: one of them; cloud-init runs scripts too")
	case userData && image == "":
		return nil, badInput("user-data", "--user-data: only with --image, of one that has cloud-init; --provision needs neither")
	case userData:
		kind, flag, path = "user-data", "user-data", p.userData
	case !script && flags.Changed("provision-timeout"):
		return nil, badInput("provision-timeout", "--provision-timeout: only with --provision or --user-data")
	case !script:
		return nil, nil
	}
	text, err := readProvision(path)
	if err != nil {
		return nil, badInput(flag, "--%s %q: a file of at most 64K that can be read: %v", flag, shorten(path, 200), err)
	}
	return &wire.Provision{Kind: kind, Text: text, TimeoutNanos: int64(p.limit)}, nil
}

func readProvision(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, rootCause(err) // the path is named already
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	}
	f, err := os.Open(path) //nolint:gosec // the caller's own
	if err != nil {
		return nil, rootCause(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProvision+1))
	switch {
	case err != nil:
		return nil, rootCause(err)
	case len(text) > maxProvision:
		return nil, errors.New("it is larger")
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New("it is empty")
	}
	return text, nil
}
