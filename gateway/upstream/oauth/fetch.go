package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// fault is an error of this package as callers of a server see it. Nothing that a server sent is in it but what was checked.
func fault(format string, args ...any) error {
	return upstream.NoCredential(fmt.Sprintf(format, args...))
}

// web is the guarded client for one server's metadata and tokens. It follows no redirects, and its answers are bounded.
func (b *Broker) web(s Settings) (*http.Client, error) {
	way, err := b.o.Transport(s.AllowPrivate)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     bounded{way, s},
		Timeout:       within,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// bounded refuses addresses that tokens do not go to, and cuts answers that are too long.
type bounded struct {
	http.RoundTripper
	s Settings
}

// RoundTrip is the guard of every request of this package.
func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.s.checkURL(r.URL.String()); err != nil {
		return nil, err
	}
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		return nil, errors.New("it answers with a redirect, and none is followed")
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// maxURL bounds an address that a server names.
const maxURL = 2048

// checkURL lets https through, and http to this machine where the operator allowed it for the server.
func (s Settings) checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Host == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return errors.New("an address that it names cannot be used")
	}
	if u.Scheme == "https" || u.Scheme == "http" && s.AllowPrivate && loopback(u.Hostname()) {
		return nil
	}
	return errors.New("an address that it names is not https")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// errAbsent is an answer that there is no such document.
var errAbsent = errors.New("not there")

var answerLimits = canon.Limits{Bytes: maxAnswer, Depth: 16, Values: 10_000}

// getObject fetches one JSON object, strictly.
func getObject(ctx context.Context, web *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, errors.New("an address that it names cannot be used")
	}
	req.Header.Set("Accept", "application/json")
	return object(web, req)
}

// postJSON sends one JSON object and reads one.
func postJSON(ctx context.Context, web *http.Client, address string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("an address that it names cannot be used")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	return object(web, req)
}

func object(web *http.Client, req *http.Request) ([]byte, error) {
	resp, err := web.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && req.Method == http.MethodGet:
		return nil, errAbsent
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return nil, fmt.Errorf("it answers with HTTP %d", resp.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, errors.New("its answer is not JSON")
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, errors.New("its answer broke off")
	}
	if canon.Check(b, answerLimits) != nil || canon.KindOf(bytes.TrimLeft(b, " \t\r\n")) != '{' {
		return nil, errors.New("its answer is not one JSON object")
	}
	return b, nil
}

// plain is an error of a request without the address, which may hold what is nobody's business.
func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return errors.New("it does not answer in time")
		}
		err = e.Err
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return errors.New(e.Detail)
	}
	for _, known := range []string{"it answers with a redirect", "an address that it names"} {
		if strings.HasPrefix(err.Error(), known) {
			return err
		}
	}
	return errors.New("it cannot be reached")
}

// member reads a string of an object; "" when there is none.
func member(object []byte, name string) string {
	raw, ok := canon.Get(object, name)
	if !ok || canon.KindOf(raw) != '"' {
		return ""
	}
	text, err := canon.Unquote(raw)
	if err != nil {
		return ""
	}
	return text
}

// yes reads a boolean of an object.
func yes(object []byte, name string) bool {
	raw, _ := canon.Get(object, name)
	return string(raw) == "true"
}

// maxList bounds a list that a server sends; of scopes some have a hundred.
const maxList = 256

// list reads an array of strings; ok says whether there is one.
func list(object []byte, name string) (out []string, ok bool) {
	raw, there := canon.Get(object, name)
	if !there || canon.KindOf(raw) != '[' {
		return nil, false
	}
	_ = canon.EachElement(raw, func(_ int, value []byte) error { // checked JSON: cannot fail
		if text, err := canon.Unquote(value); err == nil && canon.KindOf(value) == '"' && len(out) < maxList {
			out = append(out, text)
		}
		return nil
	})
	return out, true
}
