package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkTables looks at how each table ends. That part has no checksum in the
// format that we pin, and a table taken for one of another format makes Pebble
// v2.1.7 panic, at whatever time it is read first. All tables of this major
// format are of one format; who raises formatMajor must let the older one pass.
func (j *Journal) checkTables() error {
	names, err := j.o.FS.List(j.dbDir())
	if err != nil {
		return fmt.Errorf("look at the tables: %w", err)
	}
	magic, version := formatMajor.MaxTableFormat().AsTuple()
	want := string(binary.LittleEndian.AppendUint32(nil, version)) + magic
	for _, n := range names {
		if path.Ext(n) != ".sst" {
			continue
		}
		name := j.o.FS.PathJoin(j.dbDir(), n)
		got, err := lastBytes(j.o.FS, name, len(want))
		if err != nil {
			return fmt.Errorf("look at a table: %w", err)
		}
		if got != want {
			d := j.damaged(fmt.Errorf("the table ends with %x", got))
			d.File = name
			return d
		}
	}
	return nil
}

// lastBytes is how a file ends: fewer bytes where it is shorter.
func lastBytes(fsys vfs.FS, name string, n int) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	st, err := f.Stat()
	if err != nil {
		return "", errors.Join(err, f.Close())
	}
	b := make([]byte, min(int64(n), st.Size()))
	if len(b) > 0 {
		_, err = f.ReadAt(b, st.Size()-int64(len(b)))
	}
	return string(b), errors.Join(err, f.Close())
}
