package importer

import (
	"slices"
	"strings"
)

// ours are headers that the gateway writes itself, or that frame and route a request.
var ours = []string{"host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "te", "upgrade", "trailer", "user-agent", "accept-encoding"}

// credential takes over the one header that a server block has. Its value goes to the vault and nowhere else.
func (s *Server) credential(headers []variable) {
	var all, secret []variable
	for _, h := range headers {
		lower := strings.ToLower(h.Name)
		switch {
		case slices.Contains(ours, lower) || strings.HasPrefix(lower, "mcp-"):
			s.warn("its header %s is left out: the gateway writes its own", Line(short(h.Name)))
			continue
		case !isHeader(h.Name):
			s.hold("its header \"%s\" is not a name that can carry a credential", Line(short(h.Name)))
			continue
		}
		all = append(all, h)
		if _, looks := masked(h.Value.value); looks || namesSecret(h.Name) {
			secret = append(secret, h)
		}
	}
	if len(all) == 1 {
		secret = all
	}
	switch {
	case len(all) == 0:
		return
	case len(secret) != 1:
		s.hold("it has %d headers, and a server block carries one", len(all))
		return
	}
	for _, h := range all {
		if h.Name != secret[0].Name {
			s.warn("its header %s is left out: a server block carries one", h.Name)
		}
	}
	s.carry(secret[0])
}

func isHeader(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// carry splits a header's value into what stands before the secret, and the secret.
func (s *Server) carry(h variable) {
	s.Header, s.Credential, s.secret = h.Name, "credential", h.Value // named in settle
	if !strings.EqualFold(h.Name, "Authorization") {
		return
	}
	s.Header = "Authorization"
	scheme, rest, ok := strings.Cut(strings.TrimSpace(h.Value.value), " ")
	switch {
	case !ok && len(h.Value.left) > 0:
		s.warn("what its Authorization begins with is not known: it is sent as Bearer; put the token into the vault without that word")
	case !ok:
		s.hold("its Authorization has no scheme, and would be sent as Bearer")
	case !isHeader(scheme):
		s.hold("its Authorization has a scheme that cannot be read")
	default:
		if !strings.EqualFold(scheme, "Bearer") {
			s.Prefix = scheme + " "
		}
		s.secret.value, s.secret.whole = strings.TrimSpace(rest), len(h.Value.left) == 1 && strings.TrimSpace(rest) == "${"+h.Value.left[0]+"}"
	}
}

// Secret is the value of the server's credential, as far as it is known here: what a client asks for when it starts is
// not. It is for the vault.
func (s *Server) Secret(getenv func(string) string) (value string, known bool) {
	value = s.secret.value
	if name := s.secret.from(); name != "" {
		value = getenv(name)
	} else if len(s.secret.left) > 0 {
		return "", false
	}
	return value, value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Asked is what the client asks for instead of holding the credential: "input:ID" or the like.
func (s *Server) Asked() string {
	if len(s.secret.left) == 0 {
		return ""
	}
	return Line(short(s.secret.left[0]))
}
