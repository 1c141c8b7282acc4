package service

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
)

// Names of the units. Stop and restart of the engine do not touch Machines.
const (
	EngineUnit   = "arcbox-engine.service"
	SocketUnit   = "arcbox-engine.socket"
	MachinesUnit = "arcbox-machines.service"
)

// Label is the job's name with launchd.
const Label = "com.arcboxlabs.arcbox-engine"

// Config is what the files are made of. All paths are absolute.
type Config struct {
	System  bool     // for the host, else for one user
	Engine  string   // path of arcbox-engine
	CLI     string   // path of arcbox
	Flags   []string // of the engine
	Env     []Var    // where this home is
	Socket  string   // of the engine
	Tickets string   // of byte streams
	Log     string   // for launchd, which keeps none by itself
	Version string   // of who writes them
}

// Var is one variable of the environment.
type Var struct{ Name, Value string }

// File is one file to be written.
type File struct {
	Name string
	Data []byte
}

//go:embed units
var units embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"program": program, "word": word, "path": plain, "assign": assign, "xml": escape,
}).ParseFS(units, "units/*"))

// Systemd makes the units of a host or of a user.
func Systemd(c Config) ([]File, error) { return render(c, "# ", EngineUnit, SocketUnit, MachinesUnit) }

// Launchd makes the property list of a daemon or of an agent.
func Launchd(c Config) ([]File, error) { return render(c, "", Label+".plist") }

func render(c Config, comment string, names ...string) ([]File, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		var body bytes.Buffer
		if err := templates.ExecuteTemplate(&body, name+".tmpl", c); err != nil {
			return nil, fmt.Errorf("service: %s: %w", name, err)
		}
		files = append(files, File{name, stamp(body.Bytes(), c.Version, comment)})
	}
	return files, nil
}

// check refuses what no quoting helps.
func (c Config) check() error {
	paths := []Var{{"engine", c.Engine}, {"arcbox", c.CLI}, {"socket", c.Socket}, {"tickets", c.Tickets}, {"log", c.Log}}
	for _, p := range paths {
		if !filepath.IsAbs(p.Value) {
			return fmt.Errorf("service: %s %q: an absolute path is needed", p.Name, p.Value)
		}
	}
	for _, p := range paths[:2] {
		if strings.ContainsAny(p.Value, "\"'\\") {
			return fmt.Errorf("service: %s %q: systemd runs no program with quotes or backslashes in its path", p.Name, p.Value)
		}
	}
	for _, flag := range c.Flags {
		paths = append(paths, Var{"flag", flag})
	}
	for _, v := range append(paths, c.Env...) {
		if strings.ContainsFunc(v.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("service: %s %q: control characters can't be written into a unit", v.Name, v.Value)
		}
	}
	return nil
}

// program quotes what a command line begins with: a dollar stays one there.
func program(s string) string { return `"` + plain(s) + `"` }

// word quotes an argument of a command line of systemd's.
func word(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s) + `"`
}

// plain writes a path as the whole value of a setting.
func plain(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// assign quotes a variable of Environment=, where a dollar is a dollar.
func assign(v Var) string {
	return `"` + v.Name + "=" + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(v.Value) + `"`
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

const (
	stampBegin  = "Written by arcbox engine install, version "
	stampDigest = "; sha256 of what follows: "
	xmlHead     = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
)

// stamp puts a comment with the digest of what follows before it. In XML the
// declaration must stay the first line.
func stamp(body []byte, version, comment string) []byte {
	sum := sha256.Sum256(body)
	line := stampBegin + printable(version) + stampDigest + hex.EncodeToString(sum[:])
	if comment == "" {
		return append([]byte(xmlHead+"<!-- "+line+" -->\n"), body...)
	}
	return append([]byte(comment+line+"\n"), body...)
}

// printable keeps a version from ending the comment that it stands in.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '-' {
			return '_'
		}
		return r
	}, s)
}

// ErrEdited is what Ours says of a file that is not as it was written.
var ErrEdited = errors.New("it was edited, or written by somebody else")

// Ours tells whether a file is one that Systemd or Launchd made, as it was made.
func Ours(data []byte) error {
	rest, _ := bytes.CutPrefix(data, []byte(xmlHead))
	line, body, _ := bytes.Cut(rest, []byte("\n"))
	text := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(string(line), "# "), "<!-- "), " -->")
	_, digest, ok := strings.Cut(text, stampDigest)
	if sum := sha256.Sum256(body); !ok || !strings.HasPrefix(text, stampBegin) || digest != hex.EncodeToString(sum[:]) {
		return ErrEdited
	}
	return nil
}
