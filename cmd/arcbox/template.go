package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"text/template"
	"unicode"

	"github.com/spf13/cobra"
)

// A template is a --format of braces: '{{.name}} {{.state}}'. It is carried out for
// each row, and sees what --format json prints of it, by the same names.

const ownTemplate = "template"

// takesTemplate marks a command whose rows a template can print.
func takesTemplate(cmd *cobra.Command) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[ownTemplate] = "yes"
}

func isTemplate(format string) bool { return strings.Contains(format, "{{") }

func (a *app) template() bool { return isTemplate(a.format) }

func parseTemplate(text string) (*template.Template, error) {
	return template.New("format").Option("missingkey=error").Parse(text)
}

// printTemplate prints a line for each row. One that fails is said, and hides no other.
func printTemplate[T any](a *app, rows []T, view func(T) any) error {
	t, err := parseTemplate(a.format)
	if err != nil {
		return badTemplate(a.format, err)
	}
	var out bytes.Buffer
	var failed error
	for _, row := range rows {
		var line bytes.Buffer
		data, err := fields(view(row))
		if err == nil {
			err = t.Execute(&line, data)
		}
		if err != nil {
			if failed == nil {
				failed = badTemplate(a.format, err)
			}
			continue
		}
		out.WriteString(strings.TrimRight(strings.Map(harmless, line.String()), "\n") + "\n")
	}
	if _, err := out.WriteTo(a.stdout); err != nil {
		return err
	}
	return failed
}

func badTemplate(format string, err error) *failure {
	why := err.Error()
	if _, after, ok := strings.Cut(why, "executing \"format\" at "); ok {
		why = after
	}
	f := badInput("format", "--format %q: %s", shorten(format, 80), why)
	f.hint = "its names are those of --format json"
	return f
}

// harmless leaves the line ends and tabs of a template, and nothing that drives a terminal.
func harmless(r rune) rune {
	if r != '\n' && r != '\t' && drives(r) {
		return unicode.ReplacementChar
	}
	return r
}

// fields is a view as JSON has it, with those that JSON leaves out where they are empty.
func fields(view any) (map[string]any, error) {
	doc, err := json.Marshal(view)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for t, i := reflect.TypeOf(view), 0; i < t.NumField(); i++ {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = zeroOf(t.Field(i).Type)
		}
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber() // a size is no float
	return out, d.Decode(&out)
}

func zeroOf(t reflect.Type) any {
	switch t.Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Interface:
		return ""
	default:
		return reflect.Zero(t).Interface()
	}
}
