package vz

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/console"
)

// Entitlement is what a program must be signed with to make a VM, and
// EntitlementsFlag has a VM host print the file for that.
const (
	Entitlement      = "com.apple.security.virtualization"
	EntitlementsFlag = "--entitlements"
)

// What a person can do something about.
var (
	ErrNotEntitled = errors.New("the VM host is not signed with the entitlement " + Entitlement)
	ErrNoVirtual   = errors.New("this Mac, or the VM that it is, does not let a program make VMs")
	ErrTooMany     = errors.New("this Mac runs as many VMs as it allows")
	ErrDiskFull    = errors.New("the disk of this Mac is full")
	ErrOldSystem   = errors.New("this macOS is too old for that")
)

// fault is an error of the framework, as it tells it.
type fault struct {
	Domain string
	Code   int
	Text   string // what it is, for people
	Info   string // all that comes with it; the reason is in there
}

func (f *fault) Error() string {
	return fmt.Sprintf("%s (%s %d)", strings.TrimSuffix(f.Text, "."), f.Domain, f.Code)
}

// The domains of the framework's errors, and the codes that mean something here.
const (
	domainVZ    = "VZErrorDomain"
	domainPOSIX = "NSPOSIXErrorDomain"

	codeInvalidConfiguration = 2
	codeLimitExceeded        = 6
	codeOutOfDiskSpace       = 8
	codeNotSupported         = 10

	codeConnectionReset   = 54 // ECONNRESET, as macOS numbers it
	codeConnectionRefused = 61
)

// explain makes an error of the framework one that says what to do. program is the
// VM host's own path.
func explain(op string, err error, program string) error {
	if err == nil {
		return nil
	}
	var f *fault
	if !errors.As(err, &f) {
		return fmt.Errorf("hv/vz: %s: %w", op, err)
	}
	if len(f.Text) > console.MaxText {
		f.Text = f.Text[:console.MaxText] + "…"
	}
	said := strings.ToLower(f.Text + " " + f.Info)
	var why error
	switch {
	case f.Domain != domainVZ:
	case f.Code == codeInvalidConfiguration && strings.Contains(said, Entitlement):
		return fmt.Errorf("hv/vz: %s: %w. %s: %w", op, ErrNotEntitled, remedy(program), f)
	case f.Code == codeInvalidConfiguration && strings.Contains(said, "virtualization is not available"):
		why = ErrNoVirtual
	case f.Code == codeLimitExceeded:
		why = ErrTooMany
	case f.Code == codeOutOfDiskSpace:
		why = ErrDiskFull
	case f.Code == codeNotSupported:
		why = hv.ErrUnsupported
	}
	if why != nil {
		return fmt.Errorf("hv/vz: %s: %w: %w", op, why, f)
	}
	return fmt.Errorf("hv/vz: %s: %w", op, f)
}

// remedy signs a VM host, for this Mac only, which is enough: in a checkout, or
// wherever it is installed.
func remedy(program string) string {
	return fmt.Sprintf("Sign it: ./task sign, or %[1]s %[2]s > vmhost.entitlements && codesign --force --sign - --entitlements vmhost.entitlements %[1]s", quoted(program), EntitlementsFlag)
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return strings.ContainsRune(" '\"\\$`&;()<>*?[]!#~", r) }) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// refusal is why a dial failed. A reset is how a guest answers where nobody
// listens.
func refusal(err error) error {
	var f *fault
	if errors.As(err, &f) && f.Domain == domainPOSIX && (f.Code == codeConnectionReset || f.Code == codeConnectionRefused) {
		return syscall.ECONNREFUSED
	}
	return err
}
