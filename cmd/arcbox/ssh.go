package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

const (
	// sshPort is the vsock port on which the guest's agent serves SSH.
	sshPort = 1022
	// sshSuffix is behind a machine's name where ssh takes it for a host's.
	sshSuffix = ".arcbox"
)

// sshFlags are those of ssh that are used most, passed on as they are.
type sshFlags struct {
	user                          string
	local, remote, socks, options []string
	agent, noCommand, tty         bool
}

func newSSH(a *app) *cobra.Command {
	var x sshFlags
	var argv []string
	var name string
	cmd := &cobra.Command{
		Use:   "ssh [NAME] [flags] [-- COMMAND...]",
		Short: "Log in to a machine by SSH",
		Long: "Run this system's ssh against a machine (the default one where none is named). The machine\n" +
			"needs no sshd and no network: its agent serves SSH over vsock, with keys that\n" +
			"the engine made for this machine alone.\n\n" +
			"COMMAND is for the user's shell in the guest, as with ssh itself; arcbox shell\n" +
			"and exec pass arguments on as they are. Other flags of ssh go by -o, or come\n" +
			"with ssh NAME" + sshSuffix + ", which arcbox ssh-config makes possible, for scp, sftp, rsync,\n" +
			"Ansible and editors too.\n\n" +
			"The exit code is ssh's: the command's, or 255.",
		Example: "  arcbox ssh web\n  arcbox ssh web -l www-data -- 'ps | wc -l'\n  arcbox ssh web -N -L 8080:localhost:80",
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
				argv = args
				return nil
			}
			name, argv, err = execArgs(cmd, args)
			return err
		},
		ValidArgsFunction: a.completeNames(1),
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the command is the command's
	f.StringVarP(&x.user, "user", "l", "root", "whom to log in as")
	f.StringArrayVarP(&x.local, "local", "L", nil, "forward a port or socket here to one of the machine's, as ssh -L")
	f.StringArrayVarP(&x.remote, "remote", "R", nil, "forward a port or socket of the machine's to one here, as ssh -R")
	f.StringArrayVarP(&x.socks, "dynamic", "D", nil, "a SOCKS proxy here that leads through the machine, as ssh -D")
	f.StringArrayVarP(&x.options, "option", "o", nil, "an option of ssh, as ssh -o")
	f.BoolVarP(&x.agent, "agent", "A", false, "let the machine use the authentication agent here, as ssh -A")
	f.BoolVarP(&x.noCommand, "no-command", "N", false, "run nothing, only forward, as ssh -N")
	f.BoolVarP(&x.tty, "tty", "t", false, "a terminal for a command too, as ssh -t")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		if name == "" {
			var err error
			if name, err = a.defaultMachine(); err != nil {
				return err
			}
		}
		return a.ssh(ctx, name, &x, argv)
	})
	return cmd
}

// ssh becomes the system's ssh, once it is known that the machine can be
// reached: what ssh would say of it helps nobody.
func (a *app) ssh(ctx context.Context, name string, x *sshFlags, argv []string) error {
	w, err := a.sshWay()
	if err != nil {
		return err
	}
	program, err := exec.LookPath("ssh")
	if err != nil {
		return &failure{code: exitGeneral, kind: "lacking", message: "ssh is not installed here", hint: "apt-get install openssh-client\narcbox shell " + name, cause: err}
	}
	if err := a.reachable(ctx, w, name); err != nil {
		return err
	}
	line := []string{"ssh"}
	add := func(flag string, values ...string) {
		for _, v := range values {
			line = append(line, flag, v)
		}
	}
	add("-o", x.options...) // the first to say something is believed
	add("-o", w.options()...)
	add("-l", x.user)
	add("-L", x.local...)
	add("-R", x.remote...)
	add("-D", x.socks...)
	for flag, on := range map[string]bool{"-A": x.agent, "-N": x.noCommand, "-t": x.tty} {
		if on {
			line = append(line, flag)
		}
	}
	line = append(line, "--", w.host(name))
	if err := a.replace(program, append(line, argv...), a.environ()); err != nil {
		return fmt.Errorf("run %s: %w", program, err)
	}
	return nil
}

// reachable asks for a connection that is then not made: the engine refuses it
// for a machine that does not run. A guest that was started by an engine that
// made no keys has no SSH.
func (a *app) reachable(ctx context.Context, w sshWay, name string) error {
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	if _, err := ask[*wire.Ticket](ctx, e, &wire.OpenGuest{Request: request(), Name: name, Port: sshPort}); err != nil {
		return err
	}
	if err := a.borrowKeys(ctx, e, w, name); err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(w.keys, w.host(name), keyLogin))
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{
			code: exitConflict, kind: "conflict", machine: name, hint: "arcbox restart " + name + "\narcbox shell " + name, cause: err,
			message: fmt.Sprintf("machine %q has no SSH keys: it was started by an older engine, or is no real VM", name),
		}
	}
	return err
}

// options are what ssh must be told, as lines of its configuration. %h is
// the name of the host that it was called with, in small letters.
func (w sshWay) options() []string {
	file := func(name string) string {
		return `"` + strings.ReplaceAll(w.keys, "%", "%%") + "/%h/" + name + `"`
	}
	options := []string{
		"IdentityFile " + file(keyLogin),
		"IdentitiesOnly yes",
		"PreferredAuthentications publickey",
		"UserKnownHostsFile " + file(keyKnown),
		"GlobalKnownHostsFile /dev/null",
		"HostKeyAlias arcbox",
		"StrictHostKeyChecking yes",
		"UpdateHostKeys no",
	}
	proxy := "ProxyCommand " + strings.ReplaceAll(w.proxy, "%", "%%") + " ssh-proxy"
	if w.pipe {
		return append(options, proxy+" --pipe %h")
	}
	return append(options, "ProxyUseFdpass yes", proxy+" %h")
}

// shellWord quotes a word for the shell that ssh runs a ProxyCommand by.
func shellWord(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
