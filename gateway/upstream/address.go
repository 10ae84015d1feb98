package upstream

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// maxURL bounds an upstream's address; nobody's endpoint needs more.
const maxURL = 2048

// address is a checked upstream URL, split for dialing and for the request.
type address struct {
	tls  bool
	host string // without port or brackets
	port uint16
	auth string // as the Host header has it
	path string // path and query, as the request line has it
}

// CheckURL says whether a URL can be an upstream's: http or https, a host, no
// user part and no fragment. It resolves nothing.
func CheckURL(text string) error {
	_, err := parseAddress(text)
	if err != nil {
		return err
	}
	return nil
}

func parseAddress(text string) (address, *Error) {
	bad := func(why string) (address, *Error) { return address{}, fault(Invalid, "the server's URL "+why) }
	if len(text) > maxURL {
		return bad("is too long")
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return bad("holds bytes that must be escaped")
		}
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("cannot be parsed")
	}
	a := address{tls: u.Scheme == "https", host: strings.ToLower(u.Hostname()), path: u.RequestURI()}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("is neither http nor https")
	case a.host == "" || u.Opaque != "":
		return bad("names no host")
	case strings.Contains(a.host, "%"):
		return bad("names a host with a zone")
	case u.User != nil:
		return bad("holds credentials; keep them in the vault")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return bad("has a fragment")
	}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[a.tls]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return bad("has a bad port")
	}
	a.port = uint16(n)
	a.auth = hostHeader(a.host, u.Port())
	return a, nil
}

func hostHeader(host, port string) string {
	if port != "" {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
