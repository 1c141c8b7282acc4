package main

import (
	"io"

	"github.com/schollz/progressbar/v3"

	"github.com/arcboxlabs/arcbox-engine/guest/image/pull"
)

// bar draws how far a pull is, on a terminal only. done wipes it.
func (a *app) bar(what string) (hear func(pull.Progress), done func()) {
	width := terminalWidth(a.stderr)
	if a.quiet || a.json() || width == 0 {
		return nil, func() {}
	}
	b := &pullBar{what: shorten(printable(what), max(10, width-60)), to: a.stderr}
	return b.hear, b.wipe
}

// pullBar has one bar for each phase.
type pullBar struct {
	what  string
	to    io.Writer
	phase pull.Phase
	bar   *progressbar.ProgressBar
}

func (b *pullBar) hear(p pull.Progress) {
	if p.Phase != b.phase {
		b.wipe()
		b.phase = p.Phase
		total := p.Total
		if total == 0 {
			total = -1 // a spinner
		}
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.to), progressbar.OptionSetDescription(b.what+" "+string(p.Phase)),
			progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionSetWidth(16),
			progressbar.OptionClearOnFinish(), progressbar.OptionSpinnerCustom(spinner), progressbar.OptionSetSpinnerChangeInterval(0),
		)
	}
	_ = b.bar.Set64(p.Done) // there is nobody to tell
}

func (b *pullBar) wipe() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
