package vmhost

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// steps is a reader that yields so many bytes at a time, and keeps how large the
// buffers were that it was given.
type steps struct {
	sizes []int
	given []int
}

func (s *steps) Read(p []byte) (int, error) {
	s.given = append(s.given, len(p))
	if len(s.sizes) == 0 {
		return 0, io.EOF
	}
	n := s.sizes[0]
	s.sizes = s.sizes[1:]
	for i := range p[:n] {
		p[i] = byte(n)
	}
	return n, nil
}

// What fills its buffer gets a large one while there are any, and gives it back when
// little comes again, or all has come, or nobody takes it.
func TestPour(t *testing.T) {
	full := errors.New("nobody takes it")
	for name, c := range map[string]struct {
		sizes, want []int
		lent        int
		to          io.Writer
		err         error
	}{
		"little": {sizes: []int{1, smallBuffer - 1}, want: []int{smallBuffer, smallBuffer, smallBuffer}},
		"much, then little": {
			sizes: []int{smallBuffer, largeBuffer, smallBuffer + 1, smallBuffer, 1},
			want:  []int{smallBuffer, largeBuffer, largeBuffer, largeBuffer, smallBuffer, smallBuffer},
		},
		"much to the end": {sizes: []int{smallBuffer, largeBuffer}, want: []int{smallBuffer, largeBuffer, largeBuffer}},
		"the last one":    {sizes: []int{smallBuffer, 7}, want: []int{smallBuffer, largeBuffer, smallBuffer}, lent: maxLarge - 1},
		"none left":       {sizes: []int{smallBuffer, smallBuffer}, want: []int{smallBuffer, smallBuffer, smallBuffer}, lent: maxLarge},
		"a failure":       {sizes: []int{smallBuffer, largeBuffer}, want: []int{smallBuffer, largeBuffer}, to: &taker{room: smallBuffer, err: full}, err: full},
	} {
		p, from, said := newPourer(), &steps{sizes: c.sizes}, bytes.Buffer{}
		for range c.lent {
			p.large <- struct{}{}
		}
		total := 0
		for _, n := range c.sizes {
			total += n
		}
		to := c.to
		if to == nil {
			to = &said
		}
		if err := p.pour(to, from); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(from.given, c.want) || c.to == nil && said.Len() != total {
			t.Errorf("%s: buffers of %v, want %v; %d bytes of %d", name, from.given, c.want, said.Len(), total)
		}
		if len(p.large) != c.lent {
			t.Errorf("%s: %d large ones are lent, %d were", name, len(p.large), c.lent)
		}
	}
}

// taker takes so many bytes.
type taker struct {
	room int
	err  error
}

func (w *taker) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, w.err
	}
	return len(p), nil
}
