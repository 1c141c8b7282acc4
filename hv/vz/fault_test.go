package vz

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/arcboxlabs/arcbox-engine/hv"
)

// What the framework says of a program that is not signed, as it was seen.
func TestFaults(t *testing.T) {
	const invalid = "Invalid virtual machine configuration."
	for name, c := range map[string]struct {
		err  error
		is   error
		says []string
	}{
		"not signed": {
			&fault{domainVZ, 2, invalid + " The process doesn’t have the “com.apple.security.virtualization” entitlement.", ""}, ErrNotEntitled,
			[]string{"./task sign, or /opt/bin/arcbox-vmhost --entitlements > vmhost.entitlements && codesign --force --sign - --entitlements vmhost.entitlements /opt/bin/arcbox-vmhost"},
		},
		"not signed, told beside": {
			&fault{domainVZ, 2, invalid, `NSLocalizedFailureReason = "The process doesn\U2019t have the \U201ccom.apple.security.virtualization\U201d entitlement.";`}, ErrNotEntitled, nil,
		},
		"no virtualization": {&fault{domainVZ, 2, invalid + " Virtualization is not available on this hardware.", ""}, ErrNoVirtual, nil},
		"too many":          {&fault{domainVZ, 6, "The number of virtual machines exceeds the limit.", ""}, ErrTooMany, nil},
		"no space":          {&fault{domainVZ, 8, "The virtual machine ran out of disk space.", ""}, ErrDiskFull, nil},
		"not supported":     {&fault{domainVZ, 10, "Not supported.", ""}, hv.ErrUnsupported, nil},
		"old macOS":         {ErrOldSystem, ErrOldSystem, nil},
		"any other":         {&fault{domainVZ, 1, "Internal Virtualization error.", ""}, nil, []string{"start: Internal Virtualization error (VZErrorDomain 1)"}},
		"of another domain": {&fault{"NSCocoaErrorDomain", 2, "x " + Entitlement, ""}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := explain("start", c.err, "/opt/bin/arcbox-vmhost")
			if c.is != nil && !errors.Is(got, c.is) || c.is == nil && errors.Is(got, ErrNotEntitled) {
				t.Errorf("%v is not %v", got, c.is)
			}
			for _, say := range c.says {
				if !strings.Contains(got.Error(), say) {
					t.Errorf("%v does not say %q", got, say)
				}
			}
			if !errors.Is(got, c.err) {
				t.Errorf("%v hides %v", got, c.err)
			}
		})
	}
	for path, want := range map[string]string{"/opt/a-b_1.2": "/opt/a-b_1.2", "/My Apps/x": "'/My Apps/x'", "/it's": `'/it'\''s'`} {
		if got := quoted(path); got != want {
			t.Errorf("%s is quoted %s", path, got)
		}
	}
	if explain("start", nil, "") != nil {
		t.Error("no error is one")
	}
	if got := explain("start", &fault{Text: strings.Repeat("x", 10_000)}, ""); len(got.Error()) > 1000 {
		t.Errorf("a sentence of %d bytes", len(got.Error()))
	}
	for code, want := range map[int]error{54: syscall.ECONNREFUSED, 61: syscall.ECONNREFUSED, 60: nil} {
		f := &fault{Domain: domainPOSIX, Code: code}
		if got := refusal(f); (want != nil && !errors.Is(got, want)) || (want == nil && got != f) { //nolint:errorlint // the same
			t.Errorf("code %d: %v", code, got)
		}
	}
}
