package agent

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcboxlabs/arcbox-engine/guest/wire"
)

func TestParseArguments(t *testing.T) {
	for _, test := range []struct {
		line string
		want arguments
	}{
		{"console=ttyS0 quiet", arguments{name: "arcbox"}},
		{"arcbox.of=" + testID + ",db arcbox.of=x,y arcbox.of=" + testID + ",-", arguments{name: "arcbox", of: givenIdentity{"db", testID}}},
		{"arcbox.name=web-1 arcbox.log=ttyS1", arguments{name: "web-1", log: "ttyS1"}},
		{"arcbox.name=a/b arcbox.log=../etc/passwd", arguments{name: "arcbox"}},
		{"arcbox.name= arcbox.name=-x", arguments{name: "arcbox"}},
		{"arcbox.name=" + strings.Repeat("a", 64), arguments{name: "arcbox"}},
		{"arcbox.test=no-agent,ignore-shutdown", arguments{name: "arcbox"}},
		{"arcbox.root=image arcbox.id=" + testID + " arcbox.zone=America/Argentina/Buenos_Aires",
			arguments{name: "arcbox", root: true, id: testID, zone: "America/Argentina/Buenos_Aires"}},
		{"arcbox.modules=disk", arguments{name: "arcbox", modules: true}},
		{"arcbox.modules=/dev/vda", arguments{name: "arcbox"}},
		{"arcbox.net=52:01:02:03:04:05,198.18.1.5/16,198.18.0.1,arcbox.internal", arguments{name: "arcbox", net: netArguments{
			mac: net.HardwareAddr{0x52, 1, 2, 3, 4, 5}, address: netip.MustParsePrefix("198.18.1.5/16"),
			gateway: netip.MustParseAddr("198.18.0.1"), domain: "arcbox.internal",
		}}},
		{"arcbox.net=52:01:02:03:04:05,198.18.1.5/16,10.0.0.1,arcbox.internal", arguments{name: "arcbox"}},
		{"arcbox.net=52:01:02:03:04:05,fe80::1/64,fe80::2,arcbox.internal", arguments{name: "arcbox"}},
		{"arcbox.net=52:01:02:03:04:05,198.18.1.5/16,198.18.0.1,a;b", arguments{name: "arcbox"}},
		{"arcbox.net=52:01:02:03:04:05,198.18.1.5/16", arguments{name: "arcbox"}},
		{"arcbox.root=/dev/vda arcbox.id=" + testID[1:] + " arcbox.zone=../../etc/passwd arcbox.zone=Europe/..", arguments{name: "arcbox"}},
	} {
		test.want.line = test.line
		if diff := cmp.Diff(test.want, parseArguments(test.line), cmp.AllowUnexported(arguments{}, netArguments{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%q: %s", test.line, diff)
		}
	}
	args := parseArguments("arcbox.test=no-agent,ignore-shutdown quiet")
	if !args.fault(faultNoAgent) || !args.fault(faultIgnoreShutdown) || args.fault("no") {
		t.Errorf("faults of %q", args.line)
	}
}

func TestCheckStart(t *testing.T) {
	for _, test := range []struct {
		name  string
		start *wire.ExecStart
		bad   string // "" = good
	}{
		{"nothing", nil, "start: missing"},
		{"good", &wire.ExecStart{Argv: []string{"ls", ""}, Env: map[string]string{"A": "b=c"}, Dir: "/tmp", User: "0"}, ""},
		{"no argv", &wire.ExecStart{}, "argv: 0 strings"},
		{"too many", &wire.ExecStart{Argv: make([]string, maxArgs+1)}, "argv: 4097 strings"},
		{"no program", &wire.ExecStart{Argv: []string{""}}, "argv[0]: empty"},
		{"NUL", &wire.ExecStart{Argv: []string{"ls", "a\x00b"}}, "argv[1]: has a NUL"},
		{"long", &wire.ExecStart{Argv: []string{"ls", strings.Repeat("x", maxString+1)}}, "argv[1]: 131072 bytes"},
		{"empty name", &wire.ExecStart{Argv: []string{"ls"}, Env: map[string]string{"": "x"}}, "env: name"},
		{"name with =", &wire.ExecStart{Argv: []string{"ls"}, Env: map[string]string{"A=B": "x"}}, "env: name"},
		{"NUL in env", &wire.ExecStart{Argv: []string{"ls"}, Env: map[string]string{"A": "\x00"}}, "NUL"},
		{"relative", &wire.ExecStart{Argv: []string{"ls"}, Dir: "tmp"}, "dir:"},
		{"NUL in dir", &wire.ExecStart{Argv: []string{"ls"}, Dir: "/\x00"}, "dir:"},
		{"NUL in user", &wire.ExecStart{Argv: []string{"ls"}, User: "\x00"}, "user:"},
		{"login", &wire.ExecStart{Login: true}, ""},
		{"login, no program", &wire.ExecStart{Login: true, Argv: []string{""}}, "argv[0]: empty"},
		{"terminal", &wire.ExecStart{Argv: []string{"ls"}, Terminal: &wire.TerminalSize{Columns: wire.MaxSide + 1}}, "terminal: 0 rows and 65536 columns"},
		{"negative", &wire.ExecStart{Argv: []string{"ls"}, TimeoutNanos: -1}, "timeout:"},
	} {
		err := checkStart(test.start)
		if (err != nil) != (test.bad != "") || err != nil && !strings.Contains(err.Error(), test.bad) {
			t.Errorf("%s: %v, want %q", test.name, err, test.bad)
		}
	}
}

func FuzzCheckStart(f *testing.F) {
	f.Add("sh", "-c", "PATH", "/bin", "/", "root", int64(1))
	f.Add("", "\x00", "=", "", "x", ":", int64(-1))
	f.Fuzz(func(t *testing.T, program, arg, name, value, dir, user string, timeout int64) {
		s := &wire.ExecStart{Argv: []string{program, arg}, Env: map[string]string{name: value}, Dir: dir, User: user, TimeoutNanos: timeout}
		if checkStart(s) != nil {
			return
		}
		for _, word := range append(environment(root, s), program, arg, dir) {
			if strings.ContainsRune(word, 0) {
				t.Fatalf("%q would not pass the kernel", word)
			}
		}
	})
}

// FuzzLogin: a shell reads back the very words.
func FuzzLogin(f *testing.F) {
	f.Add("echo", "it's", "$(reboot)")
	f.Add("", "'", "\\'\n'")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		words := []string{a, b, c}
		argv := login("/bin/sh", words)
		if len(argv) != 3 || argv[0] != "-sh" || argv[1] != "-c" {
			t.Fatalf("%q", argv)
		}
		if got := unquote(argv[2]); !slices.Equal(got, words) {
			t.Errorf("%q is read as %q, want %q", argv[2], got, words)
		}
	})
}

// unquote reads words as sh does: '…' as they are, \ before one character,
// a blank between two.
func unquote(line string) []string {
	words, quoted := []string{""}, false
	for i := 0; i < len(line); i++ {
		last := &words[len(words)-1]
		switch b := line[i]; {
		case b == '\'':
			quoted = !quoted
		case quoted:
			*last += string([]byte{b})
		case b == '\\':
			i++
			*last += line[i : i+1]
		case b == ' ':
			words = append(words, "")
		default:
			*last += "?" // a shell might do anything with it
		}
	}
	return words
}

func TestEnvironment(t *testing.T) {
	a := account{name: "ann", home: "/home/ann", shell: "/bin/zsh"}
	want := []string{"A=1", "HOME=/elsewhere", "LOGNAME=ann", "PATH=" + defaultPath, "SHELL=/bin/zsh", "USER=ann"}
	if diff := cmp.Diff(want, environment(a, &wire.ExecStart{Env: map[string]string{"HOME": "/elsewhere", "A": "1"}})); diff != "" {
		t.Error(diff)
	}
	withTerminal := &wire.ExecStart{Terminal: &wire.TerminalSize{}, Env: map[string]string{}}
	if env := environment(a, withTerminal); !slices.Contains(env, "TERM="+defaultTerm) {
		t.Errorf("with a terminal: %q", env)
	}
	withTerminal.Env["TERM"] = "linux"
	if env := environment(a, withTerminal); !slices.Contains(env, "TERM=linux") {
		t.Errorf("with a terminal that is known: %q", env)
	}
}
