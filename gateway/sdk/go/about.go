package gatewright

import (
	"context"
	"net/http"
)

// About is what a gateway says of itself to anybody.
type About struct {
	Version string `json:"version"`
	// LedgerKeys sign its receipts and checkpoints. Danger: a key fetched from the gateway proves only
	// that the same gateway made both; pin keys got another way.
	LedgerKeys []string `json:"ledger_keys"`
	JWKS       string   `json:"jwks_uri"`
}

// About asks the gateway for its version and public keys.
func (c *Client) About(ctx context.Context) (*About, error) {
	a := &About{}
	if _, err := c.end.do(ctx, http.MethodGet, "/.well-known/gatewright", nil, a); err != nil {
		return nil, err
	}
	return a, nil
}
