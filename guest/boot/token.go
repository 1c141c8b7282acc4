package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

// maxToken bounds what AppendToken takes; a launch's token is 32 bytes.
const maxToken = 4096

// Secret is a file that only this launch's guest may know: its name in /arcbox,
// and what is in it.
type Secret struct {
	Name string
	Data []byte
}

// maxSecret bounds the files beside the token.
const maxSecret = 64 << 10

// AppendToken writes dst: the archives one behind the other, and behind them a
// segment in which /arcbox/token (mode 0400) holds the token, and the others lie
// beside it. dst is made anew with mode 0600, in place of any file of that name,
// and is gone again after an error. Nothing is synced: the file is good for one
// launch.
//
// The archives are shared, so they are copied by the kernel (or only referred to,
// where the file system can do that).
func AppendToken(dst string, token []byte, others []Secret, archives ...string) (err error) {
	if len(token) == 0 || len(token) > maxToken {
		return fmt.Errorf("initramfs token: %d bytes, 1 to %d are allowed", len(token), maxToken)
	}
	segment, err := tokenSegment(append([]Secret{{"token", token}}, others...))
	if err != nil {
		return err
	}
	if err := os.Remove(dst); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("initramfs with token: %w", err)
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("initramfs with token: %w", err)
	}
	defer func() {
		if cerr := out.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("initramfs with token: %w", cerr)
		}
		if err != nil {
			os.Remove(dst)
		}
	}()
	for _, path := range archives {
		if err := appendArchive(out, path); err != nil {
			return fmt.Errorf("initramfs: %w", err)
		}
	}
	if _, err := out.Write(segment); err != nil {
		return fmt.Errorf("initramfs with token: %w", err)
	}
	return nil
}

// appendArchive copies an archive, up to where another may begin.
func appendArchive(out *os.File, path string) error {
	in, err := files.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := io.Copy(out, in)
	if err != nil {
		return err
	}
	_, err = out.Write(make([]byte, align4(uint64(size))-uint64(size)))
	return err
}

// tokenSegment is an archive of its own, padded to 4 bytes. It brings its
// directory along, so that it fits behind any initramfs.
func tokenSegment(secrets []Secret) ([]byte, error) {
	var buf bytes.Buffer
	a := &archive{w: cpio.NewWriter(&buf)}
	a.add("arcbox", cpio.TypeDir|0o700, nil)
	for _, s := range secrets {
		if s.Name == "" || strings.Contains(s.Name, "/") || len(s.Data) > maxSecret {
			return nil, fmt.Errorf("initramfs secret %q: %d bytes: want a file's name and at most %d bytes", s.Name, len(s.Data), maxSecret)
		}
		a.add("arcbox/"+s.Name, cpio.TypeReg|0o400, s.Data)
	}
	if err := a.close(); err != nil {
		return nil, err
	}
	pad4(&buf)
	return buf.Bytes(), nil
}

// pad4 fills up to the next multiple of 4, where a further segment may start.
func pad4(buf *bytes.Buffer) {
	for buf.Len()%4 != 0 {
		buf.WriteByte(0)
	}
}
