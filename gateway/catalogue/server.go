package catalogue

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	ErrUnknown = errors.New("no such server")
	ErrExists  = errors.New("a server of that name exists")
	ErrFixed   = errors.New("the server comes from the configuration file and is changed there")
	ErrTooMany = errors.New("the tenant has as many servers as it may have")
	ErrInvalid = errors.New("not a valid server")

	errNotText = errors.New("not a string")
)

// Server is one MCP server that a tenant's agents may reach.
type Server struct {
	Tenant, Name string
	URL          string
	Era          string // auto, modern, legacy or sse
	Credential   string // the name of a secret in the tenant's vault; "" for none
	Header       string // the header that carries it
	Prefix       string // what stands before it there
	Auth         Auth   // how the gateway comes to tokens for it; zero: it needs none
	Enabled      bool
	AllowPrivate bool
	PublicKeys   []string // public keys of its TLS chain, sha256/BASE64; one must be there
	Labels       []string
	Sensitivity  int64
	Fixed        bool   // from the configuration file
	TakesCallers bool   // a caller may show it a credential of its own; only Fixed ones take them
	Pin          string // how its tools come to be approved: PinFirstUse, PinApprove or PinOwn; the configuration says it
	Process      bool   // reached through a process of the gateway's own, not at URL; only Fixed ones are
}

// Equal says whether two servers are the same in every field.
func (s Server) Equal(o Server) bool {
	lists := slices.Equal(s.Labels, o.Labels) && slices.Equal(s.PublicKeys, o.PublicKeys)
	s.Labels, o.Labels, s.PublicKeys, o.PublicKeys = nil, nil, nil, nil
	return lists && fmt.Sprintf("%#v", s) == fmt.Sprintf("%#v", o)
}

// sameTools says whether what o offers can stand for what s offers.
func (s Server) sameTools(o Server) bool {
	return s.URL == o.URL && s.Era == o.Era && s.Credential == o.Credential && s.Header == o.Header && s.Auth == o.Auth &&
		slices.Equal(s.PublicKeys, o.PublicKeys)
}

// serverRow is a Server as it is stored. Its names are a file format.
type serverRow struct {
	URL          string   `json:"url"`
	Era          string   `json:"era"`
	Credential   string   `json:"credential,omitempty"`
	Header       string   `json:"header,omitempty"`
	Prefix       string   `json:"prefix,omitempty"`
	Enabled      bool     `json:"enabled"`
	AllowPrivate bool     `json:"allow_private,omitempty"`
	Labels       []string `json:"labels,omitempty"`
	Sensitivity  int64    `json:"sensitivity,omitempty"`
	PublicKeys   []string `json:"public_keys,omitempty"`
	Auth         Auth     `json:"auth,omitzero"`
}

func (s Server) row() serverRow {
	return serverRow{s.URL, s.Era, s.Credential, s.Header, s.Prefix, s.Enabled, s.AllowPrivate, s.Labels, s.Sensitivity, s.PublicKeys, s.Auth}
}

func (r serverRow) server(tenant, name string) Server {
	return Server{
		Tenant: tenant, Name: name, URL: r.URL, Era: r.Era, Credential: r.Credential, Header: r.Header, Prefix: r.Prefix,
		Enabled: r.Enabled, AllowPrivate: r.AllowPrivate, Labels: r.Labels, Sensitivity: r.Sensitivity, PublicKeys: r.PublicKeys, Auth: r.Auth,
	}
}

// servers are kept by name in their tenant; tenants lists who has any, in the
// instance's own tenant, so that all can be found at start.
var (
	servers = store.Table[serverRow]{Name: "servers", Version: 1}
	tenants = store.Table[tenantRow]{Name: "server_tenants", Version: 1}
)

type tenantRow struct{}

func (s Server) withDefaults() Server {
	if s.Era == "" {
		s.Era = "auto"
	}
	if s.Credential != "" && s.Header == "" {
		s.Header = "Authorization"
		if s.Prefix == "" {
			s.Prefix = "Bearer "
		}
	}
	return s
}

// reservedNames are words of routes that stand where a server's name could.
var reservedNames = []string{"my-servers", "servers", "tools", "tool-metadata", "auto-register"}

// validServerName accepts [a-z0-9][a-z0-9-]{0,62}. It leaves no room for "__",
// which joins a server's name and a tool's.
func validServerName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Bounds of a server's smaller fields.
const (
	maxURL    = 2048
	maxField  = 256
	maxLabels = 32
)

// validate checks every field. private says whether AllowPrivate may be set.
func (s Server) validate(private bool) error {
	invalid := func(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }
	switch {
	case store.CheckTenant(s.Tenant) != nil || s.Tenant == store.Instance:
		return invalid("the tenant's name is not one")
	case !validServerName(s.Name):
		return invalid("the name must be 1 to 63 characters of a-z 0-9 -, not beginning with -")
	case slices.Contains(reservedNames, s.Name):
		return invalid("the name is reserved for a route")
	case s.Era != "auto" && s.Era != "legacy" && s.Era != "modern" && s.Era != "sse":
		return invalid("the era must be auto, legacy, modern or sse")
	case !pinsFit(s.PublicKeys, s.URL):
		return invalid("pins must be at most 8 of sha256/ and the base64 of 32 bytes, for an https URL")
	case s.AllowPrivate && !private:
		return invalid("private addresses are not allowed by the configuration (allow_private)")
	case len(s.Credential) > maxField || len(s.Prefix) > maxField || !printable(s.Credential) || !printable(s.Prefix):
		return invalid("credential and prefix must be short printable text")
	case s.Header != "" && !headerName(s.Header):
		return invalid("the header is not a header name")
	case s.Credential == "" && (s.Header != "" || s.Prefix != ""):
		return invalid("a header or prefix without a credential")
	case len(s.Labels) > maxLabels:
		return invalid("too many labels")
	case !slices.Contains([]string{"", PinFirstUse, PinApprove, PinOwn}, s.Pin):
		return invalid("pin must be first_use or approve")
	}
	for _, l := range s.Labels {
		if l == "" || len(l) > maxField || !printable(l) {
			return invalid("a label must be short printable text")
		}
	}
	if err := s.Auth.validate(s); err != nil {
		return invalid(err.Error())
	}
	if s.Process {
		return nil
	}
	return checkURL(s.URL)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// pinsFit tells whether package upstream takes these pins for that URL.
func pinsFit(pins []string, text string) bool {
	for _, pin := range pins {
		encoded, ok := strings.CutPrefix(pin, "sha256/")
		digest, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(digest) != sha256.Size {
			return false
		}
	}
	u, err := url.Parse(text)
	return len(pins) == 0 || len(pins) <= 8 && err == nil && u.Scheme == "https"
}

// checkURL refuses what can never be an upstream. Where a name leads is judged
// when it is dialed.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURL || !printable(text) || strings.ContainsAny(text, " #"):
		return fmt.Errorf("%w: the URL cannot be used", ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return fmt.Errorf("%w: the URL must be http or https and name a host", ErrInvalid)
	case u.User != nil:
		return fmt.Errorf("%w: the URL holds credentials; keep them in the vault", ErrInvalid)
	}
	return nil
}
