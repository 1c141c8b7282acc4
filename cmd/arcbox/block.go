package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/arcboxlabs/arcbox-engine/actors/wire"
	"github.com/arcboxlabs/arcbox-engine/guest/disk"
)

// maxBlocks is how many disks a machine may have beside its own.
const maxBlocks = 12

// parseBlocks reads --block PATH[:ro], once for each disk. Paths become absolute,
// for the engine runs elsewhere; links are kept, because they may be what names a
// device for good.
func parseBlocks(texts []string, far bool) ([]*wire.Block, error) {
	if len(texts) > maxBlocks {
		return nil, badInput("block", "--block: %d of them, at most %d", len(texts), maxBlocks)
	}
	var out []*wire.Block
	for _, text := range texts {
		path, readOnly := strings.CutSuffix(text, ":ro")
		if !readOnly {
			path = strings.TrimSuffix(path, ":rw")
		}
		abs, err := hostPath(path, far)
		if err == nil && path == "" {
			err = errors.New("no path")
		}
		if err == nil && !far {
			err = disk.Usable(abs, readOnly)
		}
		if err != nil {
			return nil, badInput("block", "--block %q: PATH or PATH:ro, a file or a block device that you can use: %v", shorten(text, 200), rootCause(err))
		}
		for _, b := range out {
			if b.GetPath() == abs {
				return nil, badInput("block", "--block %q: it is there twice", shorten(text, 200))
			}
		}
		out = append(out, &wire.Block{Path: abs, ReadOnly: readOnly})
	}
	return out, nil
}

// blockText is a disk as inspect shows it.
func blockText(b *wire.Block) string {
	how := "read and write"
	if b.GetReadOnly() {
		how = "read only"
	}
	return fmt.Sprintf("%s (%s, /dev/disk/by-id/virtio-%s)", b.GetPath(), how, b.GetSerial())
}

type blockJSON struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"read_only"`
	Serial   string `json:"serial"`
}

func blocksView(blocks []*wire.Block) []blockJSON {
	var out []blockJSON
	for _, b := range blocks {
		out = append(out, blockJSON{b.GetPath(), b.GetReadOnly(), b.GetSerial()})
	}
	return out
}
