package agent

import (
	"sync"
)

// outputMost is how much of a set-up's output is kept, its end.
const outputMost = 256 << 10

// output is what a set-up prints. It never makes it wait: what nobody has read
// yet is cut off at the front.
type output struct {
	mu   sync.Mutex
	text []byte
	cut  int64         // bytes that are gone
	over bool          // nothing comes any more
	more chan struct{} // closed at the next change
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) add(b []byte) error {
	o.change(func() {
		o.text = append(o.text, b...)
		if n := len(o.text) - outputMost; n > 0 {
			o.cut += int64(n)
			o.text = append(o.text[:0:0], o.text[n:]...)
		}
	})
	return nil
}

func (o *output) end() { o.change(func() { o.over = true }) }

func (o *output) change(how func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how()
	close(o.more)
	o.more = make(chan struct{})
}

// from is at most so many bytes of what is there from a position on, and the
// position behind them. Where there are none, more tells of the next.
func (o *output) from(at int64, most int) (text []byte, next int64, over bool, more <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at = max(at, o.cut)
	rest := o.text[at-o.cut:]
	text = append(text, rest[:min(len(rest), most)]...)
	return text, at + int64(len(text)), o.over && len(text) == len(rest), o.more
}

// tail is the last bytes.
func (o *output) tail(most int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]byte(nil), o.text[max(0, len(o.text)-most):]...)
}
