package oauth

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// revoke tells the authorization server that a token is not used any more (RFC 7009). The gateway has forgotten it already, so
// that a server that does not listen is for the log.
func (b *Broker) revoke(ctx context.Context, s Settings, g *grant) {
	if g.Revocation == "" {
		return
	}
	c := clientcredentials.Config{ClientID: g.Client.ID, AuthStyle: oauth2.AuthStyleInParams, EndpointParams: url.Values{"token": {cmp.Or(g.Refresh, g.Access)}}}
	err := b.prove(ctx, s, g, &c)
	if err == nil {
		err = b.tell(ctx, s, g.Revocation, &c)
	}
	if err != nil {
		b.o.Log.Warn("a token that was given up may live on at its authorization server", "tenant", s.Tenant, "server", s.Server, "error", err)
	}
}

func (b *Broker) tell(ctx context.Context, s Settings, address string, c *clientcredentials.Config) error {
	web, err := b.web(s)
	if err != nil {
		return err
	}
	form := c.EndpointParams
	if c.AuthStyle == oauth2.AuthStyleInParams {
		form.Set("client_id", c.ClientID)
		if c.ClientSecret != "" {
			form.Set("client_secret", c.ClientSecret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return fault("the revocation endpoint cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.AuthStyle == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret))
	}
	resp, err := web.Do(req)
	if err != nil {
		return plain(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fault("the revocation endpoint answers with another status than 200")
	}
	return nil
}
