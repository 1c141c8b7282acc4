package guest

import (
	"io"
	"testing"
)

// BenchmarkExec streams through a real agent, without a guest between.
func BenchmarkExec(b *testing.B) {
	const size = 64 << 20
	for name, spec := range map[string]func() ExecSpec{
		"out": func() ExecSpec { return ExecSpec{Argv: []string{"head", "-c", "64M", "/dev/zero"}, Stdout: io.Discard} },
		"in": func() ExecSpec {
			return ExecSpec{Argv: []string{"sh", "-c", "cat >/dev/null"}, Stdin: io.LimitReader(zeros{}, size)}
		},
	} {
		b.Run(name, func(b *testing.B) {
			ctx, c := connected(b)
			b.SetBytes(size)
			for b.Loop() {
				if r, err := c.Exec(ctx, spec()); err != nil || r.Status != 0 {
					b.Fatal(r, err)
				}
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
