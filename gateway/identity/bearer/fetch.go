package bearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of what an authorization server answers. Real metadata are 2 to 8 KiB, and sets of keys with chains 10 to 40.
const (
	maxAnswer = 256 << 10
	maxURL    = 2048
)

var answerLimits = canon.Limits{Bytes: maxAnswer, Depth: 16, Values: 10_000}

// errAbsent is an answer that there is no such document.
var errAbsent = errors.New("not there")

// discover finds the address of the keys in the issuer's metadata: RFC 8414, 3.1, and then OpenID Connect Discovery 1.0, 4. The
// metadata must name the issuer that they were asked for (RFC 8414, 3.3).
func (s *source) discover(ctx context.Context) (string, error) {
	for _, address := range metadataOf(s.server.Issuer) {
		body, err := s.get(ctx, address)
		if errors.Is(err, errAbsent) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("its metadata: %w", err)
		}
		if canon.KindOf(body) != '{' || canon.Check(body, answerLimits) != nil {
			return "", errors.New("its metadata are no JSON object, or one that could be read in two ways")
		}
		if iss, _ := jws.Text(body, "issuer"); iss != s.server.Issuer {
			return "", errors.New("its metadata are another issuer's")
		}
		jwks, _ := jws.Text(body, "jwks_uri")
		return jwks, nil
	}
	return "", errors.New("it has no metadata at the well-known addresses: set jwks_url")
}

// metadataOf are the addresses where an issuer's metadata may lie.
func metadataOf(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	base, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	list := []string{base + "/.well-known/oauth-authorization-server" + path}
	if path != "" {
		list = append(list, base+"/.well-known/openid-configuration"+path)
	}
	return append(list, base+path+"/.well-known/openid-configuration")
}

// get fetches one document. Redirects are not followed: the address that was configured or discovered is the one that was judged.
func (s *source) get(ctx context.Context, address string) ([]byte, error) {
	if err := s.server.checkURL(address); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.way.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		return nil, errAbsent
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, errors.New("it answers with a redirect, and none is followed")
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	return body, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}
