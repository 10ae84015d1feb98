package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/openapi"
)

// openapiConnector is what the process of a server with an OpenAPI document is told.
type openapiConnector struct {
	API          openapi.Config  `json:"api"`
	AllowPrivate bool            `json:"allow_private"`
	Upstream     config.Upstream `json:"upstream"`
}

// OpenAPIConnector makes the connector that calls an API as its document describes it, in a process of its own: a document that
// takes too much time or memory to read harms no other server.
func OpenAPIConnector(conf []byte, log io.Writer) (connector.Server, error) {
	var c openapiConnector
	d := json.NewDecoder(bytes.NewReader(conf))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("read the connector's configuration: %w", err)
	}
	t, err := upstream.Transport(upstreamConfig(c.Upstream, 1), nil, c.AllowPrivate)
	if err != nil {
		return nil, err
	}
	return openapi.New(c.API, timed{t, c.Upstream}, log)
}

// timed bounds a whole exchange, and says what is wrong with an address as the gateway's own client does.
type timed struct {
	http.RoundTripper
	bounds config.Upstream
}

// RoundTrip sends one request. Its time is over when the answer's body is closed at the latest.
func (t timed) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.bounds.Timeout)
	res, err := t.RoundTripper.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, httpFailure(err)
	}
	res.Body = &closing{res.Body, cancel}
	return res, nil
}

// closing ends the time of an exchange with its body.
type closing struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends it.
func (c *closing) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// openapiCommand runs the process for a server with a document.
func (g *Gateway) openapiCommand(s config.Server) (plugins.Command, error) {
	document, err := filepath.Abs(s.OpenAPI)
	if err != nil {
		return plugins.Command{}, fmt.Errorf("find the document: %w", err)
	}
	pin, err := hex.DecodeString(s.SHA256)
	if err != nil {
		return plugins.Command{}, fmt.Errorf("sha256: %w", err)
	}
	o, u, c := g.o.Config.OpenAPI, g.o.Config.Upstream, g.o.Config.Catalogue
	prefix := s.Prefix
	if s.Header == "Authorization" && prefix == "" {
		prefix = "Bearer "
	}
	conf, err := json.Marshal(openapiConnector{
		API: openapi.Config{
			Document: document, SHA256: pin, URL: s.URL, Credential: s.Credential != "", Scheme: s.Scheme, Header: s.Header, Prefix: prefix,
			Limits: openapi.Limits{
				Document: int(o.MaxDocument), Values: o.MaxValues, Depth: o.MaxDepth, Operations: o.MaxOperations, Refs: o.MaxRefs, Schema: int(c.MaxSchema),
				Answer: int(min(o.MaxAnswer, u.MaxReply)), Binary: int(o.MaxBinary), Result: int(u.MaxReply), JSONDepth: u.JSONDepth, JSONValues: u.JSONValues,
			},
		},
		AllowPrivate: s.AllowPrivate || u.AllowPrivate, Upstream: u,
	})
	return g.builtinCommand(builtin.OpenAPI, conf), err
}
