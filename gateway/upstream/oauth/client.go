package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// How a client proves itself at the token endpoint (RFC 7591, 2; RFC 7523).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodKey   = "private_key_jwt"
)

// client is the gateway as an authorization server knows it. Its names are a file format.
type client struct {
	Issuer string `json:"issuer"` // it is known there, and shown nowhere else
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty"` // of a registration; a configured one stays in its own place in the vault
	Method string `json:"method"`
}

// client finds how the gateway is known to an authorization server: as configured, else by the address of its metadata document,
// else by a registration, which is made where the server offers nothing else and is kept for that issuer alone.
func (b *Broker) client(ctx context.Context, s Settings, f *found) (client, error) {
	if s.ClientID != "" {
		return s.configured(f)
	}
	if s.Kind != AuthorizationCode {
		return client{}, fault("the gateway has no client_id at the authorization server of %s; register it there and configure it", s.Server)
	}
	if f.documents && b.o.ClientDocument != "" {
		return client{Issuer: f.id, ID: b.o.ClientDocument, Method: methodNone}, nil
	}
	if f.register == "" {
		return client{}, fault("the authorization server of %s does not know the gateway and registers nobody; register the gateway there and configure client_id", s.Server)
	}
	return b.registration(ctx, s, f)
}

// configured is the client that the operator registered, with the way to prove itself that both sides know.
func (s Settings) configured(f *found) (client, error) {
	c := client{Issuer: f.id, ID: s.ClientID, Method: methodNone}
	switch {
	case s.ClientKey != "":
		c.Method = methodKey
	case s.ClientSecret != "" && slices.Contains(f.methods, methodPost) && !slices.Contains(f.methods, methodBasic):
		c.Method = methodPost
	case s.ClientSecret != "":
		c.Method = methodBasic
	}
	if f.listsMethods && !slices.Contains(f.methods, c.Method) {
		return c, fault("the authorization server of %s does not take %s; configure what it takes", s.Server, c.Method)
	}
	return c, nil
}

// Document is the gateway's client metadata, served at its own client_id.
func (b *Broker) Document() map[string]any {
	d := b.o.metadata(methodNone)
	d["client_id"] = b.o.ClientDocument
	return d
}

func (o Options) metadata(method string) map[string]any {
	kind := "web"
	if u, err := url.Parse(o.Callback); err == nil && loopback(u.Hostname()) {
		kind = "native"
	}
	return map[string]any{
		"client_name": "Gatewright", "redirect_uris": []string{o.Callback}, "application_type": kind,
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"token_endpoint_auth_method": method,
	}
}

// registration is the one that was made at the issuer before, or a new one.
func (b *Broker) registration(ctx context.Context, s Settings, f *found) (client, error) {
	at := place{s.Tenant, s.Server, "client/" + short(f.id+"\n"+b.o.Callback)}
	e, err := b.take(ctx, at)
	if err != nil {
		return client{}, err
	}
	defer b.give(e)
	if err := b.load(ctx, s, at, e); err != nil {
		return client{}, err
	}
	if e.grant != nil {
		return e.grant.Client, nil
	}
	c, err := b.register(ctx, s, f)
	if err != nil {
		return c, err
	}
	return c, b.save(ctx, at, e, &grant{Settings: s.digest(), Issuer: f.id, Client: c})
}

// register asks the authorization server to know the gateway (RFC 7591).
func (b *Broker) register(ctx context.Context, s Settings, f *found) (client, error) {
	method := methodBasic
	for _, m := range []string{methodPost, methodBasic, methodNone} { // the last that is there is taken: a public client has no secret to lose
		if slices.Contains(f.methods, m) {
			method = m
		}
	}
	body, err := json.Marshal(b.o.metadata(method))
	if err != nil {
		return client{}, err
	}
	web, err := b.web(s)
	if err != nil {
		return client{}, err
	}
	raw, err := postJSON(ctx, web, f.register, body)
	if err != nil {
		return client{}, fault("the authorization server of %s does not register the gateway: %v; register it there and configure client_id", s.Server, err)
	}
	c := client{Issuer: f.id, ID: member(raw, "client_id"), Secret: member(raw, "client_secret"), Method: member(raw, "token_endpoint_auth_method")}
	if c.Method == "" {
		c.Method = method
	}
	if c.Secret == "" {
		c.Method = methodNone
	}
	if c.ID == "" || !slices.Contains([]string{methodNone, methodBasic, methodPost}, c.Method) {
		return client{}, fault("the authorization server of %s registers the gateway in a way that cannot be used; register it there and configure client_id", s.Server)
	}
	return c, nil
}

// short shortens a text to what may stand in a name.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:12])
}

// ask makes one request to the token endpoint and returns what was granted. asked are the scopes that an answer without any grants.
func (b *Broker) ask(ctx context.Context, s Settings, g *grant, form url.Values, asked []string) (*grant, error) {
	web, err := b.web(s)
	if err != nil {
		return nil, err
	}
	if g.Resource != "" {
		form.Set("resource", g.Resource)
	}
	c := clientcredentials.Config{ClientID: g.Client.ID, TokenURL: g.TokenEndpoint, AuthStyle: oauth2.AuthStyleInParams, EndpointParams: form}
	if err := b.prove(ctx, s, g, &c); err != nil {
		return nil, err
	}
	now := b.o.Now()
	t, err := c.Token(context.WithValue(ctx, oauth2.HTTPClient, web))
	if err != nil {
		return nil, tokenFault(ctx, s, err)
	}
	next := *g
	next.Settings, next.Access, next.Got, next.Expires, next.Scopes = s.digest(), t.AccessToken, now.Unix(), 0, asked
	if t.RefreshToken != "" {
		next.Refresh = t.RefreshToken
	}
	if !t.Expiry.IsZero() {
		next.Expires = now.Add(time.Until(t.Expiry)).Unix() // the library reads the wall clock
	}
	if text, ok := t.Extra("scope").(string); ok && text != "" {
		next.Scopes = cleanScopes(strings.Fields(text))
	}
	switch {
	case !strings.EqualFold(t.TokenType, "bearer"):
		return nil, fault("the authorization server of %s gives tokens of another type than Bearer; tell its operator", s.Server)
	case len(next.Access) > maxToken || len(next.Refresh) > maxToken || !visible(next.Access):
		return nil, fault("the authorization server of %s gives tokens that cannot be sent; tell its operator", s.Server)
	}
	return &next, nil
}

// visible says whether a text may stand in a header.
func visible(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return text != ""
}

// prove adds what proves the client.
func (b *Broker) prove(ctx context.Context, s Settings, g *grant, c *clientcredentials.Config) error {
	configured := s.ClientID != ""
	switch g.Client.Method {
	case methodKey:
		return b.assert(ctx, s, g, c)
	case methodNone:
		return nil
	case methodBasic:
		c.AuthStyle = oauth2.AuthStyleInHeader
	}
	c.ClientSecret = g.Client.Secret
	if !configured {
		return nil
	}
	err := b.o.Secrets.Use(ctx, s.Tenant, s.ClientSecret, func(secret []byte) error {
		c.ClientSecret = string(secret)
		return nil
	})
	if err != nil {
		return fault("the client_secret of %s is not in the vault; put it there", s.Server)
	}
	return nil
}

// assertionTTL is how long an assertion of the client is good: it is used at once.
const assertionTTL = 2 * time.Minute

// assert adds a JWT signed with the client's key (RFC 7523, 2.2). It is for the issuer alone.
func (b *Broker) assert(ctx context.Context, s Settings, g *grant, c *clientcredentials.Config) error {
	id, err := b.random()
	if err != nil {
		return err
	}
	now := b.o.Now()
	claims := map[string]any{
		"iss": g.Client.ID, "sub": g.Client.ID, "aud": g.Issuer, "jti": id, "iat": now.Unix(), "exp": now.Add(assertionTTL).Unix(),
	}
	var token string
	err = b.o.Secrets.Use(ctx, s.Tenant, s.ClientKey, func(secret []byte) (err error) {
		token, err = b.o.Sign(secret, claims)
		return err
	})
	if err != nil {
		return fault("the client_key of %s is not a private key in the vault; put one there, in PEM", s.Server)
	}
	c.EndpointParams.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	c.EndpointParams.Set("client_assertion", token)
	return nil
}

// random is a text that nobody guesses: 256 bits.
func (b *Broker) random() (string, error) {
	var raw [32]byte
	if _, err := b.o.Rand.Read(raw[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// errInvalidGrant is a code or refresh token that is good no more.
var errInvalidGrant = errors.New("invalid_grant")

// tokenFault says why there is no token. The library's own text holds the answer's body, which may hold anything.
func tokenFault(ctx context.Context, s Settings, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fault("the token endpoint of %s: %v; try again later", s.Server, plain(err))
	}
	if e.ErrorCode == "invalid_grant" {
		return errInvalidGrant
	}
	code := "HTTP " + e.Response.Status[:min(3, len(e.Response.Status))]
	if visible(e.ErrorCode) && len(e.ErrorCode) <= 64 {
		code = e.ErrorCode
	}
	return fault("the authorization server of %s refuses a token: %s; look at how the gateway is registered there", s.Server, code)
}
