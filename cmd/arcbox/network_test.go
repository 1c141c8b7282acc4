package main

import (
	"strings"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

func TestParsePort(t *testing.T) {
	for text, want := range map[string]string{
		"8080:80":               "tcp 127.0.0.1:8080 80",
		"0:80":                  "tcp 127.0.0.1:0 80",
		"0.0.0.0:8080:80":       "tcp 0.0.0.0:8080 80",
		"[::1]:8080:80":         "tcp [::1]:8080 80",
		"5353:53/udp":           "udp 127.0.0.1:5353 53",
		"8080:80/tcp":           "tcp 127.0.0.1:8080 80",
		"8080":                  "",
		"8080:0":                "",
		"8080:65536":            "",
		"65536:80":              "",
		"x:80":                  "",
		"8080:80/sctp":          "",
		"host:8080:80":          "",
		"":                      "",
		strings.Repeat("1", 99): "",
	} {
		p, err := parsePort(text)
		got := ""
		if err == nil {
			got = p.GetProtocol() + " " + p.GetListen() + " " + p.GetTo()
		}
		if got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "HOST:GUEST") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseSocket(t *testing.T) {
	if p, err := parseSocket("/a:/b:in", false); err != nil || !p.GetIn() || p.GetListen() != "/a" || p.GetTo() != "/b" || portText(p) != "/a ← /b" {
		t.Errorf("inwards: %v, %v", p, err)
	}
	for text, ok := range map[string]bool{"/a:/b": true, "a:/b": true, "/a": false, "/a:b": false, ":/b": false, "/a:in": false, "/a:/b:in": true} {
		if _, err := parseSocket(text, false); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFindForward(t *testing.T) {
	var ports []*wire.Port
	for _, text := range []string{"8080:80", "0.0.0.0:8080:81", "8080:82/udp", "/a:/b"} {
		p, err := parseForward(text, false)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	for text, want := range map[string]string{
		"8080": "80", "0.0.0.0:8080": "81", "8080/udp": "82", "8080/tcp": "80", "/a": "/b", "81": "", "/b": "", "": "",
	} {
		if got := findForward(ports, text, false).GetTo(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestAutomaticPorts(t *testing.T) {
	auto := &wire.Port{Protocol: "tcp", Listen: "127.0.0.1:53", To: "[fd00::1]:53"}
	m := &wire.Machine{Name: "web", Spec: &wire.Spec{Network: "nat", AutoPorts: true}, Network: &wire.Network{
		AutoTrouble: "not yet", Ports: []*wire.PortState{{Port: auto, Automatic: true, Error: "taken"}},
	}}
	v := networkView(m)
	if !v.AutoPorts || v.AutoTrouble != "not yet" || len(v.Ports) != 1 || v.Ports[0] != (portJSON{"tcp", "127.0.0.1:53", "[fd00::1]:53", false, true, "taken"}) {
		t.Errorf("%+v", v)
	}
	facts := map[string]string{}
	for _, f := range networkFacts(m) {
		facts[f.name] = f.value
	}
	if facts["auto ports"] != "yes: not yet" || facts["port"] != "127.0.0.1:53 → [fd00::1]:53 (automatic): taken" {
		t.Errorf("%v", facts)
	}
	if !isAutomatic(m, "53", false) || isAutomatic(m, "54", false) {
		t.Error("port rm takes an automatic forward for another")
	}
}
