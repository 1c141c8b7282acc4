package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// A machine file says in YAML what the flags of create say: its keys are their
// names, and name. docs/machine.schema.json is made from the flags.

// maxMachineFile is the most that a machine file may be, in bytes.
const maxMachineFile = 64 << 10

// paths are the keys whose relative values start from the file's directory; a
// kernel is a path where it has a slash.
var paths = []string{"kernel", "initrd", "block", "volume", "user-data", "provision"}

// readHere are those of them that this command reads, wherever the engine is.
var readHere = []string{"user-data", "provision"}

// fileKeys are what a machine file may say.
func fileKeys() []string { return append([]string{"name"}, specNames...) }

// machineFile is one that was read: who said what, for errors.
type machineFile struct {
	path, dir string
	name      string         // of the machine; "" = it says none
	lines     map[string]int // where each key stands
}

// load fills the flags that are not on the command line from the machine file, if
// there is one.
func (s *specFlags) load(cmd *cobra.Command) error {
	for _, name := range append([]string{"file"}, specNames...) {
		if cmd.Flags().Changed(name) {
			s.typed = append(s.typed, name)
		}
	}
	if s.archived != nil {
		return s.takeArchived(cmd)
	}
	if !slices.Contains(s.typed, "file") {
		return nil
	}
	m, text, err := openMachineFile(cmd.InOrStdin(), s.path)
	if err != nil {
		return badInput("file", "--file %q: %v", s.path, rootCause(err))
	}
	s.file = m
	top, err := m.parse(text)
	if err != nil {
		return err
	}
	return s.takeAll(cmd, top)
}

func openMachineFile(stdin io.Reader, path string) (*machineFile, []byte, error) {
	m := &machineFile{path: path, lines: map[string]int{}}
	from := stdin
	if path == "-" {
		m.path = "standard input"
	} else {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			err = errors.New("a file is needed, this is a directory")
		}
		if err != nil {
			return nil, nil, err
		}
		f, err := os.Open(path) //nolint:gosec // the person's own
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = f.Close() }() // read-only
		from, m.dir = f, filepath.Dir(path)
	}
	text, err := io.ReadAll(io.LimitReader(from, maxMachineFile+1))
	if err == nil && len(text) > maxMachineFile {
		err = fmt.Errorf("at most %d bytes", maxMachineFile)
	}
	return m, text, err
}

// parse reads the keys and values of the one mapping that a file has to be, each
// key once.
func (m *machineFile) parse(text []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, badInput("file", "%s: there is nothing in it", m.path)
	case err != nil:
		return nil, badInput("file", "%s: %s", m.path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, badInput("file", "%s:%d: keys and values are needed, as in \"cpus: 2\"", m.path, top.Line)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, badInput("file", "%s: one machine to a file; there is more behind the first", m.path)
	}
	for i := 0; i < len(top.Content); i += 2 {
		key := top.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(fileKeys(), key.Value):
			return nil, m.unknown(key)
		case m.lines[key.Value] > 0:
			return nil, badInput(key.Value, "%s:%d: %s is there twice, first in line %d", m.path, key.Line, key.Value, m.lines[key.Value])
		}
		m.lines[key.Value] = key.Line
	}
	return top.Content, nil
}

// unknown refuses a key, and names the one that may have been meant.
func (m *machineFile) unknown(key *yaml.Node) error {
	f := badInput("file", "%s:%d: there is no key %q", m.path, key.Line, shorten(key.Value, 80))
	if like := similar(shorten(key.Value, 80), fileKeys()); len(like) > 0 {
		f.message += fmt.Sprintf("; did you mean \"%s\"?", strings.Join(like, `" or "`))
	} else {
		f.message += ": there are " + strings.Join(fileKeys(), ", ")
	}
	return f
}

// take gives a flag its value from the file, unless the command line has it.
func (s *specFlags) take(cmd *cobra.Command, key, value *yaml.Node) error {
	values := []*yaml.Node{value}
	flag := cmd.Flags().Lookup(key.Value)
	list := flag != nil && flag.Value.Type() == "stringArray"
	if list {
		if value.Kind != yaml.SequenceNode {
			return badInput(key.Value, "%s: a list is needed", key.Value)
		}
		values = value.Content
	}
	for _, v := range values {
		text, err := s.scalar(key.Value, v, kindOf(cmd, key.Value))
		switch {
		case err != nil:
			return err
		case flag == nil: // name
			if s.file.name = text; checkName(text) != nil {
				return checkName(text)
			}
		case !slices.Contains(s.typed, key.Value):
			if err := cmd.Flags().Set(key.Value, text); err != nil {
				return usage(cmd, err)
			}
		}
	}
	return nil
}

// tags are what YAML calls the values that a kind of key takes.
var tags = map[string][]string{
	"string": {"!!str"}, "stringArray": {"!!str"}, "int": {"!!int"}, "size": {"!!str", "!!int", "!!float"}, "bool": {"!!bool"},
}

// kindOf is the type of a key's flag. A machine's name is text.
func kindOf(cmd *cobra.Command, key string) string {
	if f := cmd.Flags().Lookup(key); f != nil {
		return f.Value.Type()
	}
	return "string"
}

// scalar is one value as a flag takes it.
func (s *specFlags) scalar(key string, v *yaml.Node, kind string) (string, error) {
	takes, known := tags[kind]
	if !known {
		takes = tags["string"]
	}
	switch {
	case v.Kind != yaml.ScalarNode || v.Anchor != "":
		return "", badInput(key, "%s: a plain value is needed, without anchors, lists and keys in it", key)
	case v.ShortTag() == "!!null":
		return "", badInput(key, "%s: its value is missing", key)
	case !slices.Contains(takes, v.ShortTag()) && takes[0] == "!!str":
		return "", badInput(key, "%s %q: text is needed; put it into quotes", key, shorten(v.Value, 80))
	case !slices.Contains(takes, v.ShortTag()):
		return "", badInput(key, "%s %q: %s", key, shorten(v.Value, 80), kinds[kind])
	}
	named := key == "kernel" && !strings.ContainsRune(v.Value, filepath.Separator)
	there := s.far() && !slices.Contains(readHere, key) // and is refused
	if slices.Contains(paths, key) && v.Value != "" && !named && !there && !filepath.IsAbs(v.Value) {
		return filepath.Join(s.file.dir, v.Value), nil
	}
	return v.Value, nil
}

// place says in which line of the file a value stands that is wrong.
func (s *specFlags) place(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok || s.file == nil || slices.Contains(s.typed, f.field) || s.file.lines[f.field] == 0 || strings.HasPrefix(f.message, s.file.path+":") {
		return err
	}
	out := *f
	out.message = fmt.Sprintf("%s:%d: %s", s.file.path, s.file.lines[f.field], strings.TrimPrefix(f.message, "--"))
	return &out
}

// nameOf is the name that was given on the command line, in the file, or the
// default machine's.
func (s *specFlags) nameOf(a *app, args []string) (string, error) {
	if len(args) == 0 && s.file != nil && s.file.name != "" {
		return s.file.name, nil
	}
	return a.nameOf(args)
}
