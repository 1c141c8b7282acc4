package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"howett.net/plist"

	"github.com/arcboxlabs/arcbox-engine/hv/vz"
)

// The file that codesign gets is a property list with one entitlement, the one
// whose lack the driver explains.
func TestEntitlements(t *testing.T) {
	got := map[string]any{}
	format, err := plist.Unmarshal(entitlements, &got)
	if err != nil || format != plist.XMLFormat {
		t.Fatalf("format %d, %v", format, err)
	}
	if diff := cmp.Diff(map[string]any{vz.Entitlement: true}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What signs it after a build, and what a person is told to do, name the same file.
func TestSigning(t *testing.T) {
	text, err := os.ReadFile("../../Taskfile.yml")
	if err != nil {
		t.Fatal(err)
	}
	const sign = "codesign --force --sign - --entitlements cmd/arcbox-vmhost/vmhost.entitlements bin/arcbox-vmhost"
	if !strings.Contains(string(text), sign) {
		t.Errorf("Taskfile.yml has no %q", sign)
	}
	if entitlementsFlag != vz.EntitlementsFlag {
		t.Errorf("the flag is %s, and a person is told %s", entitlementsFlag, vz.EntitlementsFlag)
	}
}
