package proxy

import (
	"crypto/x509"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Protected is what clients of OAuth authorization servers are told of this port (RFC 9728). It tells strangers whose tokens are
// taken and nothing of what there is: every address under /mcp has its document, whether a server of that name exists or not.
type Protected struct {
	Resource string   // the port's own address: scheme, host and port
	Issuers  []string // of the authorization servers
	Scopes   []string // that every call needs
	All      []string // and what operations need besides
}

// MetadataPath is where the documents lie; the path of a resource follows (RFC 9728, 3.1).
const MetadataPath = "/.well-known/oauth-protected-resource"

// Document is the metadata at an address; nil when there is none.
func (p *Protected) Document(path string) []byte {
	rest, ok := strings.CutPrefix(path, MetadataPath)
	if p == nil || len(p.Issuers) == 0 || !ok || rest != "" && !underMCP(rest) {
		return nil
	}
	b := canon.AppendString([]byte(`{"resource":`), p.Resource+rest)
	b = appendStrings(append(b, `,"authorization_servers":`...), p.Issuers)
	if len(p.All) > 0 {
		b = appendStrings(append(b, `,"scopes_supported":`...), p.All)
	}
	return append(b, `,"bearer_methods_supported":["header"],"resource_name":"Gatewright"}`...)
}

// underMCP takes /mcp and /mcp/NAME.
func underMCP(path string) bool {
	name, ok := strings.CutPrefix(path, "/mcp")
	return ok && (name == "" || len(name) > 1 && name[0] == '/' && strings.IndexByte(name[1:], '/') < 0)
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, s)
	}
	return append(b, ']')
}

// challenge is WWW-Authenticate (RFC 6750, 3; RFC 9728, 5.1) of a refusal at an address. It is the same for every credential that
// is not taken, whatever is wrong with it.
func (p *Protected) challenge(d *pipeline.Denial, path string, shown bool) string {
	text := `Bearer realm="gatewright"`
	if p == nil || len(p.Issuers) == 0 {
		return text
	}
	if path = strings.TrimSuffix(path, "/"); !underMCP(path) {
		path = ""
	}
	scopes := p.Scopes
	switch {
	case d.Code == pipeline.InsufficientScope:
		text += `, error="insufficient_scope"`
		scopes = d.Scopes
	case shown:
		text += `, error="invalid_token"`
	}
	text += `, resource_metadata="` + p.Resource + MetadataPath + path + `"`
	if len(scopes) > 0 {
		text += `, scope="` + strings.Join(scopes, " ") + `"`
	}
	return text
}

// challenged says whether a refusal comes with a challenge.
func challenged(d *pipeline.Denial) bool {
	return d.Status() == http.StatusUnauthorized || d.Code == pipeline.InsufficientScope
}

// Certificate is the client's, when the port takes them and TLS has verified it. Beside headers that show a credential which cannot be
// read as one, or two that differ, there is none: it does not stand in for them.
func (x *Exchange) Certificate() *x509.Certificate {
	if x.server == nil || !x.server.config.ClientCertificates || (x.Head.Authorization != nil || x.Head.APIKey != nil) && len(x.Head.Credential()) == 0 {
		return nil
	}
	state := x.TLSConnectionState()
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.VerifiedChains[0][0]
}

// inQuery says whether a credential stands in the URL, where logs and histories keep it (RFC 6750, 2.3).
func inQuery(x *Exchange) bool {
	return len(x.URI().QueryString()) > 0 && x.QueryArgs().Has("access_token")
}
