package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/cmd/internal/home"
	whole "github.com/arcboxlabs/arcbox-engine/guest/files"
)

// localContext names this host's engine. It is always there.
const localContext = "local"

const (
	contextsVersion = 1
	maxContexts     = 1 << 20 // bytes of the file
	maxRemoteDir    = 1024
)

// contexts are the engines of other hosts that a user knows. The file holds keys,
// so that it is its owner's alone.
type contexts struct {
	Version int             `json:"version"`
	Current string          `json:"current,omitempty"`
	All     []remoteContext `json:"contexts"`
}

// remoteContext is one engine of another host.
type remoteContext struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	// Of an engine that was joined, as PEM.
	CA          string `json:"ca,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
}

func (c *contexts) find(name string) *remoteContext {
	for i := range c.All {
		if strings.EqualFold(c.All[i].Name, name) {
			return &c.All[i]
		}
	}
	return nil
}

// get is find, with an error that says what there is.
func (c *contexts) get(name string) (*remoteContext, error) {
	if found := c.find(name); found != nil {
		return found, nil
	}
	f := &failure{code: exitNotFound, kind: "not-found", field: "context", hint: "arcbox context list", message: fmt.Sprintf("no context %q", shorten(name, 80))}
	if meant := didYouMean(name, c.names(), ""); meant != "" {
		f.hint = meant + "\n" + f.hint
	}
	return nil, f
}

// unused is a name like one that was wished for, which nobody has.
func (c *contexts) unused(wish string) string {
	name := wish
	for n := 2; c.free(name) != nil; n++ {
		name = fmt.Sprintf("%s-%d", wish[:min(len(wish), 58)], n)
	}
	return name
}

func (c *contexts) names() []string {
	names := []string{localContext}
	for _, one := range c.All {
		names = append(names, one.Name)
	}
	return names
}

// contextsFile is where they are kept: in the user's configuration directory,
// for all engines of his.
func (a *app) contextsFile() (string, error) {
	h, err := home.Find(func(name string) string {
		if name == home.Var {
			return ""
		}
		return a.env(name)
	})
	if h.Config == "" {
		return "", fmt.Errorf("where contexts are kept: %w", err)
	}
	return filepath.Join(h.Config, "contexts.json"), nil
}

// readContexts reads the file; where there is none, there are no contexts.
func (a *app) readContexts() (*contexts, error) {
	path, err := a.contextsFile()
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &contexts{Version: contextsVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("contexts: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, &failure{
			code: exitUnsafe, kind: "unsafe", hint: "chmod 600 " + path,
			message: fmt.Sprintf("%s has mode %04o, and may hold keys: allowed is 0600", path, info.Mode().Perm()),
		}
	}
	data, err := whole.Read(path, maxContexts)
	if err != nil {
		return nil, fmt.Errorf("contexts: %w", err)
	}
	c := &contexts{}
	if err = json.Unmarshal(data, c); err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, &failure{
			code: exitGeneral, kind: "failed", cause: err, hint: "mv " + path + " " + path + ".bad",
			message: fmt.Sprintf("%s can't be read: %v", path, err),
		}
	}
	return c, nil
}

func (c *contexts) check() error {
	if c.Version != contextsVersion {
		return fmt.Errorf("it has version %d, this arcbox knows %d", c.Version, contextsVersion)
	}
	for _, one := range c.All {
		if err := checkContext(one.Name); err != nil {
			return err
		}
		if _, err := parseEndpoint(one.Endpoint); err != nil {
			return err
		}
	}
	return nil
}

// changeContexts changes the file as a whole; two that do so at once wait for
// each other.
func (a *app) changeContexts(ctx context.Context, change func(*contexts) error) error {
	path, err := a.contextsFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	lock, err := whole.Take(ctx, path+".lock", syscall.LOCK_EX, nil)
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	defer lock.Release()
	c, err := a.readContexts()
	if err != nil {
		return err
	}
	if err := change(c); err != nil {
		return err
	}
	if err := c.check(); err != nil { // what could not be read again would be in everybody's way
		return err
	}
	slices.SortFunc(c.All, func(x, y remoteContext) int { return strings.Compare(x.Name, y.Name) })
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	if err := whole.Replace(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("contexts: %w", err)
	}
	return nil
}

// checkContext refuses what can't be a context's name.
func checkContext(name string) error { return checkWord("context", name, "arcbox context list") }

// checkClient refuses what can't be the name of a client of another host.
func checkClient(name string) error { return checkWord("client", name, "arcbox engine clients") }

// endpoint is where an engine of another host is found.
type endpoint struct {
	scheme           string // ssh or tcp
	user, host, port string
	dir              string // its home there, "" = its user's
}

var (
	hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)
	userForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
)

// parseEndpoint reads ssh://[USER@]HOST[:PORT][/DIRECTORY], and tcp://HOST:PORT. What it lets
// through is never taken for a flag, nor for anything but a word by a shell.
func parseEndpoint(text string) (endpoint, error) {
	bad := func(format string, args ...any) (endpoint, error) {
		f := badInput("endpoint", "endpoint %q: %s", shorten(text, 200), fmt.Sprintf(format, args...))
		f.hint = "arcbox context add NAME ssh://[USER@]HOST[:PORT][/DIRECTORY]"
		return endpoint{}, f
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Scheme != "ssh" && u.Scheme != "tcp" {
		return bad("ssh://[USER@]HOST[:PORT][/DIRECTORY] is needed")
	}
	if _, has := u.User.Password(); has {
		return bad("a password has no place in it: ssh asks for it, or has a key")
	}
	e := endpoint{scheme: u.Scheme, user: u.User.Username(), host: u.Hostname(), port: u.Port(), dir: strings.TrimSuffix(u.Path, "/")}
	if !hostForm.MatchString(e.host) && net.ParseIP(e.host) == nil {
		return bad("its host is no host's name and no address")
	}
	if e.user != "" && !userForm.MatchString(e.user) {
		return bad("its user is no user's name")
	}
	if n, err := strconv.Atoi(e.port); e.port != "" && (err != nil || n < 1 || n > 65535) {
		return bad("its port is not from 1 to 65535")
	}
	if e.scheme == "tcp" && (e.port == "" || u.User != nil || u.Path != "") {
		return bad("tcp://HOST:PORT is needed")
	}
	if e.dir != "" && (filepath.Clean(e.dir) != e.dir || len(e.dir) > maxRemoteDir || strings.ContainsFunc(e.dir, func(r rune) bool { return r < ' ' || r == 0x7f })) {
		return bad("its directory is no absolute path in its shortest form")
	}
	return e, nil
}
