// Package openapi makes an MCP server of an API that an OpenAPI 3.0 or 3.1 document describes: each operation is a tool, its
// parameters and body are the tool's input.
//
// The document says what a request looks like, and nothing else: where requests go, and what credential they carry, the
// configuration alone says. A document is read from a local file, under bounds; what it refers to outside of itself is never
// fetched. An operation that cannot be carried out safely or exactly is left out with a reason, and the others serve.
//
// An argument fills the place that the document has for it and no more (CVE-2026-29791 is what happens otherwise): it can
// add no segment to a path, no parameter to a query, no header, and no line to one. The encoders here are those of RFC 6570
// and of the OpenAPI specification's table of styles; what they cannot write without being read as something else, they refuse.
package openapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/plugins/connector"
)

// CredentialHeader is the name under which the gateway hands a request's credential over, as it stands in the vault. It never
// leaves this package: the document's security scheme says where and how the credential travels.
const CredentialHeader = "Gatewright-Credential"

// Config is what a server is made of. All of it comes from the gateway's configuration.
type Config struct {
	// Document is the path of the document, and SHA256 what it must hash to; empty: it is not pinned.
	Document string `json:"document"`
	SHA256   []byte `json:"sha256,omitempty"`
	// URL is where the API is; what the document says of servers is not read.
	URL string `json:"url"`
	// Credential says that each request brings one. Scheme is the document's security scheme that it is for; empty: the only one
	// there is. Where the document has none, Header and Prefix say how it travels.
	Credential bool   `json:"credential,omitempty"`
	Scheme     string `json:"scheme,omitempty"`
	Header     string `json:"header,omitempty"`
	Prefix     string `json:"prefix,omitempty"`

	Limits Limits `json:"limits"`
}

// Limits bounds a document and what is done with it.
type Limits struct {
	// Document is the largest document, in bytes; Values and Depth bound what it holds, YAML's aliases written out.
	Document, Values, Depth int
	// Operations is how many it may have, Refs how many others one operation's schema may refer to, Schema the largest input
	// schema, in bytes.
	Operations, Refs, Schema int
	// Answer is the largest body of an answer, Binary the largest that is neither JSON nor text, in bytes; with 0 such answers
	// are withheld. Result is the largest MCP result; JSONDepth and JSONValues bound what is structured in it.
	Answer, Binary, Result, JSONDepth, JSONValues int
}

func (l Limits) check() error {
	for _, n := range []int{l.Document, l.Values, l.Depth, l.Operations, l.Refs, l.Schema, l.Answer, l.Result, l.JSONDepth, l.JSONValues} {
		if n < 1 {
			return errors.New("every limit but that of binary answers must be at least 1")
		}
	}
	return nil
}

// New makes the server. transport carries its requests; it must follow no redirect, use no proxy and judge the addresses that it
// connects to. A *connector.Failure among its errors reaches the gateway as it is. log gets a line for each operation or optional
// parameter that is left out; a document without a usable operation is an error.
func New(c Config, transport http.RoundTripper, log io.Writer) (connector.Server, error) {
	tools, notes, err := build(c, transport)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	for i, n := range notes {
		if i == maxNotes {
			fmt.Fprintf(log, "openapi: and %d more such lines\n", len(notes)-i)
			break
		}
		fmt.Fprintf(log, "openapi: %s\n", n)
	}
	if len(tools) == 0 {
		return nil, fmt.Errorf("openapi: the document %s has no operation that can be a tool", filepath.Base(c.Document))
	}
	s, err := connector.Tools(tools...)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return &server{s}, nil
}

// server hands a request's credential on to the tool that is called.
type server struct{ connector.Server }

type credentialKey struct{}

// Call answers one request.
func (s *server) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	for _, h := range r.Headers {
		if h[0] == CredentialHeader {
			ctx = context.WithValue(ctx, credentialKey{}, h[1])
		}
	}
	return s.Server.Call(ctx, r)
}

// maxNotes bounds the lines about what is left out.
const maxNotes = 100

// build reads the document and makes a tool of each operation. The notes say what is left out, and why.
func build(c Config, transport http.RoundTripper) (tools []connector.Tool, notes []string, err error) {
	if err := c.Limits.check(); err != nil {
		return nil, nil, err
	}
	base, err := parseBase(c.URL)
	if err != nil {
		return nil, nil, err
	}
	doc, err := readDocument(c)
	if err != nil {
		return nil, nil, err
	}
	scheme, err := doc.scheme(c)
	if err != nil {
		return nil, nil, err
	}
	ops, notes, err := doc.operations(scheme)
	if err != nil {
		return nil, nil, err
	}
	for _, op := range ops {
		api := &api{base: base, transport: transport, limits: c.Limits, op: op}
		tool := connector.Tool{
			Name: op.name, Title: op.title, Description: op.description, InputSchema: op.schema, Annotations: op.hints(), Handle: api.call,
		}
		if _, err := connector.Tools(tool); err != nil {
			notes = append(notes, op.leftOut(err))
			continue
		}
		tools = append(tools, tool)
	}
	return tools, notes, nil
}

// parseBase checks the address that requests go to. Its path stands before an operation's.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // not quoted: it may hold a password
		return nil, errors.New("the url cannot be parsed")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.User != nil:
		return nil, errors.New("the url needs http or https and a host, and has no user info: keep credentials in the vault")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return nil, errors.New("the url has a query or fragment: operations have their own")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if slices.ContainsFunc(strings.Split(path, "/"), isDots) || strings.Contains(path, "//") {
		return nil, errors.New("the url's path has dot segments or empty ones: write the path that is meant")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Opaque: path}, nil
}
