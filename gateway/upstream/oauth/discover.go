package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// found is where a server's tokens come from.
type found struct {
	resource string   // the server as tokens are made for it
	scopes   []string // that its metadata lists
	issuer
}

// issuer is an authorization server by its own metadata.
type issuer struct {
	id                                               string
	authorize, token, register, revoke               string
	scopes, methods, algorithms, challenges, grants  []string
	documents, namesItself, listsMethods, saysGrants bool
}

// discover finds a server's metadata and that of its authorization server.
func (b *Broker) discover(ctx context.Context, s Settings, c challenge) (*found, error) {
	web, err := b.web(s)
	if err != nil {
		return nil, err
	}
	f, id, err := s.resource(ctx, web, c)
	if err != nil {
		return nil, err
	}
	if err := s.checkURL(id); err != nil {
		return nil, fault("the authorization server of %s: %v; tell the server's operator", s.Server, err)
	}
	meta, err := metadata(ctx, web, id)
	if err != nil {
		return nil, fault("the metadata of the authorization server of %s: %v; tell its operator", s.Server, err)
	}
	if member(meta, "issuer") != id {
		return nil, fault("the authorization server of %s says that it is another issuer; tell its operator", s.Server)
	}
	f.issuer = readIssuer(id, meta)
	for _, address := range []string{f.authorize, f.token, f.register, f.revoke} {
		if address != "" && s.checkURL(address) != nil {
			return nil, fault("the authorization server of %s names an address that tokens do not go to; tell its operator", s.Server)
		}
	}
	if f.token == "" {
		return nil, fault("the authorization server of %s names no token endpoint; tell its operator", s.Server)
	}
	return f, nil
}

// resource finds the metadata of the server itself (RFC 9728): where the refusal says, else at the well-known places, the path's
// own before the root. It must be about this very server.
func (s Settings) resource(ctx context.Context, web *http.Client, c challenge) (*found, string, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, "", fault("the server's URL cannot be read; mend it")
	}
	root := u.Scheme + "://" + u.Host
	whole := root + u.EscapedPath()
	if u.RawQuery != "" {
		whole += "?" + u.RawQuery
	}
	for _, try := range places(root, u.EscapedPath(), whole, c.metadata) {
		raw, err := getObject(ctx, web, try.address)
		switch {
		case errors.Is(err, errAbsent) && try.address != c.metadata:
			continue
		case errors.Is(err, errAbsent):
			return nil, "", fault("the metadata of %s is not where the server says; tell its operator", s.Server)
		case err != nil:
			return nil, "", fault("the metadata of %s: %v; tell its operator", s.Server, err)
		}
		resource := member(raw, "resource")
		if !slices.Contains(try.about, resource) {
			return nil, "", fault("the metadata of %s is about another resource; tell its operator", s.Server)
		}
		servers, _ := list(raw, "authorization_servers")
		scopes, _ := list(raw, "scopes_supported")
		id, err := s.choose(servers)
		return &found{resource: resource, scopes: cleanScopes(scopes)}, id, err
	}
	if s.Issuer == "" {
		return nil, "", fault("%s has no metadata that names an authorization server; set its issuer", s.Server)
	}
	return &found{resource: whole}, s.Issuer, nil
}

// choose takes the configured authorization server, else the first that the server names.
func (s Settings) choose(servers []string) (string, error) {
	switch {
	case s.Issuer != "" && (len(servers) == 0 || slices.Contains(servers, s.Issuer)):
		return s.Issuer, nil
	case s.Issuer != "":
		return "", fault("%s does not take tokens of the issuer that is configured; mend its issuer", s.Server)
	case len(servers) == 0:
		return "", fault("the metadata of %s names no authorization server; set its issuer", s.Server)
	}
	return servers[0], nil
}

// well is an address to try, and what its document may be about.
type well struct {
	address string
	about   []string
}

func places(root, path, whole, said string) []well {
	const known = "/.well-known/oauth-protected-resource"
	if said != "" {
		return []well{{said, []string{whole, root, root + "/"}}}
	}
	if path == "" || path == "/" {
		return []well{{root + known, []string{whole, root, root + "/"}}}
	}
	return []well{{root + known + path, []string{whole}}, {root + known, []string{root, root + "/"}}}
}

// metadata fetches an authorization server's own document, in the order of MCP: RFC 8414, then OpenID Connect Discovery; an
// issuer with a path has it between host and path, and for OpenID Connect also behind.
func metadata(ctx context.Context, web *http.Client, id string) ([]byte, error) {
	u, err := url.Parse(id)
	if err != nil || u.RawQuery != "" {
		return nil, errors.New("its name cannot be used")
	}
	root, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	tries := []string{root + "/.well-known/oauth-authorization-server" + path, root + "/.well-known/openid-configuration" + path}
	if path != "" {
		tries = append(tries, root+path+"/.well-known/openid-configuration")
	}
	for _, address := range tries {
		raw, err := getObject(ctx, web, address)
		if !errors.Is(err, errAbsent) {
			return raw, err
		}
	}
	return nil, errors.New("it is not at any well-known place")
}

func readIssuer(id string, meta []byte) issuer {
	i := issuer{
		id: id, authorize: member(meta, "authorization_endpoint"), token: member(meta, "token_endpoint"),
		register: member(meta, "registration_endpoint"), revoke: member(meta, "revocation_endpoint"),
		documents:   yes(meta, "client_id_metadata_document_supported"),
		namesItself: yes(meta, "authorization_response_iss_parameter_supported"),
	}
	i.scopes, _ = list(meta, "scopes_supported")
	i.methods, i.listsMethods = list(meta, "token_endpoint_auth_methods_supported")
	i.challenges, _ = list(meta, "code_challenge_methods_supported")
	i.algorithms, _ = list(meta, "token_endpoint_auth_signing_alg_values_supported")
	i.grants, i.saysGrants = list(meta, "grant_types_supported")
	return i
}

// wanted says which scopes to ask for: what the refusal named, else what the server's metadata lists, and what was granted
// already; never more than is configured.
func (s Settings) wanted(f *found, c challenge, granted []string) ([]string, error) {
	most := strings.Fields(s.Scopes)
	ask := c.scopes
	if len(ask) == 0 {
		ask = f.scopes
		if len(most) > 0 {
			if ask = intersect(f.scopes, most); len(ask) == 0 {
				ask = most
			}
		}
	}
	if len(most) > 0 && len(intersect(ask, most)) != len(ask) {
		return nil, fault("%s asks for scopes beyond those that are configured: %s; add them to its scopes", s.Server, strings.Join(ask, " "))
	}
	return cleanScopes(append(slices.Clone(granted), ask...)), nil
}

func intersect(a, b []string) (out []string) {
	for _, one := range a {
		if slices.Contains(b, one) {
			out = append(out, one)
		}
	}
	return out
}
