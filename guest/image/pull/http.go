package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// stallTime is how long a server may send nothing.
	stallTime    = time.Minute
	maxRedirects = 10
)

var (
	// ErrStalled means that a server was waited for long enough.
	ErrStalled   = fmt.Errorf("the server sent nothing for %v", stallTime)
	errDowngrade = errors.New("the server redirects from https to http")
)

// watched is a reader of what a server sends. While it waits, time runs, and at
// its end everything that stop ends.
type watched struct {
	io.Reader
	timer *time.Timer
	limit time.Duration
}

func (s *Sources) watch(r io.Reader, stop context.CancelCauseFunc) *watched {
	return &watched{r, time.AfterFunc(s.stall, func() { stop(ErrStalled) }), s.stall}
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	defer w.timer.Stop() // what is done with the bytes may take as long as it likes
	return w.Reader.Read(p)
}

// body is an answer that is being read.
type body struct {
	*watched
	size  int64 // -1 where the server does not say
	ctx   context.Context
	close func() error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.watched.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = withCause(b.ctx, err)
	}
	return n, err
}

func (b *body) Close() error { return b.close() }

// get begins to read a URL.
func (s *Sources) get(ctx context.Context, url string) (*body, error) {
	ctx, stop := context.WithCancelCause(ctx)
	w := s.watch(nil, stop)
	answer, err := s.ask(ctx, url)
	w.timer.Stop()
	if err != nil {
		err = withCause(ctx, err)
		stop(nil)
		return nil, err
	}
	w.Reader = answer.Body
	return &body{watched: w, size: answer.ContentLength, ctx: ctx, close: func() error {
		defer stop(nil)
		return answer.Body.Close()
	}}, nil
}

func (s *Sources) ask(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	// An archive's digest is of what the server has, not of what it packs for
	// the way.
	req.Header.Set("Accept-Encoding", "identity")
	client := http.Client{Transport: s.opts.Transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" && strings.HasPrefix(url, "https:") {
			return errDowngrade
		}
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}}
	answer, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("get %s: the server says %s", url, answer.Status)
	}
	return answer, nil
}

const userAgent = "arcbox"
