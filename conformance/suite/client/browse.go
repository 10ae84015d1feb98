package main

import (
	"context"
	"io"
	"net/http"
)

// browse opens an address as a browser does, and returns where it leads next, or else the page.
func browse(ctx context.Context, address string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if to := resp.Header.Get("Location"); to != "" {
		return to, nil
	}
	page, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return string(page), err
}
