package sinks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxAnswer is how much of a receiver's answer is read, in bytes.
const maxAnswer = 64 << 10

// poster sends bodies to one address.
type poster struct {
	client *http.Client
	url    string
	agent  string
}

func newPoster(o *Options, c *Config, address string) poster {
	tr := &http.Transport{
		Proxy:                  nil, // the environment names no receivers
		DialContext:            (&net.Dialer{Timeout: c.Timeout}).DialContext,
		TLSClientConfig:        tlsConfig(c, ""),
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        1,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return poster{&http.Client{Transport: tr, CheckRedirect: refuse}, address, "gatewright/" + o.Version}
}

// tlsConfig verifies the receiver's certificate against the configured or the system's authorities.
func tlsConfig(c *Config, name string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots, ServerName: name}
}

// post sends a body once and returns the answer's. Anything but 2xx is an error, redirects included.
func (p *poster) post(ctx context.Context, body []byte, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	req.Header = header
	req.Header.Set("User-Agent", p.agent)
	res, err := p.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address, which may hold a secret
		}
		return nil, fmt.Errorf("send: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		bad := fmt.Errorf("the receiver answered %d", res.StatusCode)
		if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 && s < 1<<20 {
			return nil, &laterError{bad, time.Duration(s) * time.Second}
		}
		return nil, bad
	}
	if err != nil {
		return nil, unread(err) // the receiver has said that it has the batch
	}
	return answer, nil
}

func (p *poster) close() { p.client.CloseIdleConnections() }
