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

// body is an answer that is being read. It ends with an error where the server
// stalls.
type body struct {
	io.ReadCloser
	size   int64 // -1 where the server does not say
	watch  *time.Timer
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	b.watch.Reset(stallTime)
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *body) Close() error {
	b.watch.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// get begins to read a URL.
func (s *Sources) get(ctx context.Context, url string) (*body, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(stallTime, func() { cancel(ErrStalled) })
	b := &body{watch: watch, ctx: ctx, cancel: cancel}
	answer, err := s.ask(ctx, url)
	if err != nil {
		watch.Stop()
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("get %s: %w", url, cause)
		}
		cancel(nil)
		return nil, err
	}
	b.ReadCloser, b.size = answer.Body, answer.ContentLength
	return b, nil
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
