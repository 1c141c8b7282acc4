package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

type sshConfigJSON struct {
	Path    string `json:"path"`
	Include string `json:"include"`
	Active  bool   `json:"included"`
}

func newSSHConfig(a *app) *cobra.Command {
	var install bool
	cmd := &cobra.Command{
		Use:   "ssh-config",
		Short: "Print what lets ssh NAME" + sshSuffix + " and its relatives reach machines",
		Long: "Print a piece of ssh's configuration with which ssh NAME" + sshSuffix + " reaches the machine\n" +
			"NAME, and so do scp, sftp, rsync, Ansible and editors that use ssh. It is for all\n" +
			"machines, also those that are yet to be.\n\n" +
			"With --install it is written to a file of arcbox's own, and the line is told that\n" +
			"includes it, which belongs at the top of ~/.ssh/config. That file is yours: it is\n" +
			"never changed from here. For clients other than OpenSSH's, leave out ProxyUseFdpass\n" +
			"and add --pipe to the ProxyCommand.\n\n" +
			"With a context CTX the piece is for the machines of that engine, as ssh NAME.CTX" + sshSuffix + ".\n" +
			"It goes above that of this host's engine, whose pattern is the wider one.",
		Example: "  arcbox ssh-config --install\n  ssh web" + sshSuffix + "\n  arcbox ssh-config >web.conf; scp -F web.conf file web" + sshSuffix + ":",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&install, "install", false, "write it to a file, and tell how to include that")
	cmd.RunE = a.verb(func(_ context.Context, _ *cobra.Command, _ []string) error {
		w, err := a.sshWay()
		if err != nil {
			return err
		}
		text := sshConfig(w)
		if install {
			return a.installSSHConfig(w, text)
		}
		_, err = fmt.Fprint(a.stdout, text)
		return err
	})
	return cmd
}

func sshConfig(w sshWay) string {
	return "# Made by arcbox ssh-config.\nHost *" + w.suffix + "\n  User root\n  " + strings.Join(w.options(), "\n  ") + "\n"
}

// installSSHConfig writes the piece anew, whole or not at all.
func (a *app) installSSHConfig(w sshWay, text string) error {
	if err := os.MkdirAll(filepath.Dir(w.config), 0o700); err != nil {
		return fmt.Errorf("install ssh's configuration: %w", err)
	}
	path := w.config
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		return fmt.Errorf("install ssh's configuration: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("install ssh's configuration: %w", err)
	}
	out := sshConfigJSON{Path: path, Include: `Include "` + path + `"`}
	mine := filepath.Join(a.env("HOME"), ".ssh", "config")
	if have, err := os.ReadFile(mine); err == nil {
		for line := range strings.Lines(string(have)) {
			out.Active = out.Active || strings.TrimSpace(line) == out.Include
		}
	}
	if a.json() {
		return a.printJSON(out)
	}
	if !out.Active {
		a.note("%s is written; put this line at the top of %s:", path, mine)
	} else {
		a.note("%s is written, and %s includes it by this line:", path, mine)
	}
	_, err := fmt.Fprintln(a.stdout, out.Include)
	return err
}
