package service

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"howett.net/plist"
)

var update = flag.Bool("update", false, "write the golden files anew")

func system() Config {
	return Config{
		System: true, Engine: "/usr/local/bin/arcbox-engine", CLI: "/usr/local/bin/arcbox",
		Env:    []Var{{"ARCBOX_HOME", "/var/lib/arcbox"}, {"HOME", "/root"}},
		Socket: "/var/lib/arcbox/run/engine.sock", Tickets: "/var/lib/arcbox/run/tickets.sock", Log: "/var/lib/arcbox/log/engine.log", Version: "1.2.3",
	}
}

// odd has in every value what systemd or XML would read as something else.
func odd() Config {
	dir := `/home/a b/50% "of" $HOME \ <&>`
	return Config{
		Engine: "/opt/50% $HOME <&>/arcbox-engine", CLI: "/opt/50% $HOME <&>/arcbox", Flags: []string{`--a=$HOME "%h"`}, Env: []Var{{"ARCBOX_HOME", dir}},
		Socket: dir + "/run/engine.sock", Tickets: dir + "/run/tickets.sock", Log: dir + "/log", Version: "v1-2-gabc --> [Unit]\nx",
	}
}

func TestGolden(t *testing.T) {
	for name, c := range map[string]Config{"system": system(), "odd": odd()} {
		for _, make := range []func(Config) ([]File, error){Systemd, Launchd} {
			files, err := make(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				path := filepath.Join("testdata", name, f.Name)
				if *update {
					if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.Data, 0o644)); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(string(want), string(f.Data)); d != "" {
					t.Errorf("%s (-want +got):\n%s", path, d)
				}
			}
		}
	}
}

func TestOurs(t *testing.T) {
	units, err := Systemd(odd())
	if err != nil {
		t.Fatal(err)
	}
	lists, err := Launchd(odd())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(units, lists...) {
		if err := Ours(f.Data); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		for i := len(f.Data) - 300; i < len(f.Data); i++ {
			bad := bytes.Clone(f.Data)
			if bad[i] ^= 1; Ours(bad) == nil {
				t.Fatalf("%s: a change of byte %d is not seen", f.Name, i)
			}
		}
		if Ours(append(bytes.Clone(f.Data), "\nNice=5\n"...)) == nil {
			t.Errorf("%s: what was added is not seen", f.Name)
		}
	}
	for _, text := range []string{"", "[Unit]\n", "# Written by me\n[Unit]\n"} {
		if !errors.Is(Ours([]byte(text)), ErrEdited) {
			t.Errorf("%q is ours", text)
		}
	}
}

func TestWhatNoQuotingHelps(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"a line break":      func(c *Config) { c.Env[0].Value = "/a\n[Service]\nExecStart=/bin/evil" },
		"a relative path":   func(c *Config) { c.Engine = "arcbox-engine" },
		"in a flag":         func(c *Config) { c.Flags = []string{"--listen\n"} },
		"a quote":           func(c *Config) { c.CLI = `/opt/"x"/arcbox` },
		"a socket's escape": func(c *Config) { c.Socket = "/a\x1b" },
	} {
		c := odd()
		c.Env = []Var{c.Env[0]}
		spoil(&c)
		if _, err := Systemd(c); err == nil {
			t.Errorf("%s: taken", name)
		}
		if _, err := Launchd(c); err == nil {
			t.Errorf("%s: taken for launchd", name)
		}
	}
}

// What launchd reads is what was meant.
func TestPropertyList(t *testing.T) {
	for _, c := range []Config{system(), odd()} {
		files, err := Launchd(c)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Label                          string
			ProgramArguments               []string
			EnvironmentVariables           map[string]string
			RunAtLoad, AbandonProcessGroup bool
			KeepAlive                      map[string]bool
			ExitTimeOut, ThrottleInterval  int
			Umask                          int
			StandardErrorPath              string
		}
		format, err := plist.Unmarshal(files[0].Data, &got)
		if err != nil || format != plist.XMLFormat {
			t.Fatalf("format %d: %v\n%s", format, err, files[0].Data)
		}
		env := map[string]string{}
		for _, v := range c.Env {
			env[v.Name] = v.Value
		}
		if d := cmp.Diff(append([]string{c.Engine}, c.Flags...), got.ProgramArguments); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(env, got.EnvironmentVariables); d != "" {
			t.Error(d)
		}
		if got.Label+".plist" != files[0].Name || !got.RunAtLoad || !got.AbandonProcessGroup || got.KeepAlive["SuccessfulExit"] || got.Umask != 0o077 || got.StandardErrorPath != c.Log {
			t.Errorf("%+v", got)
		}
		if again, ok := got.KeepAlive["SuccessfulExit"]; !ok || again {
			t.Error("an engine that was asked to end is started again")
		}
	}
}

func TestNothingOfTheEnvironmentIsLost(t *testing.T) {
	files, err := Systemd(system())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name != SocketUnit && !strings.Contains(string(f.Data), `Environment="ARCBOX_HOME=/var/lib/arcbox"`) {
			t.Errorf("%s looks elsewhere", f.Name)
		}
	}
}
