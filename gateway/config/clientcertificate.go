package config

import (
	"encoding/hex"
	"slices"
	"strings"
)

// ClientCertificate says which agent a client's TLS certificate is: client_certificate "name" { ... }. An authority of client_ca in
// proxy must have signed it.
type ClientCertificate struct {
	// Tenant and Agent are the organisation and its agent, by id or name; required.
	Tenant string `koanf:"tenant"`
	Agent  string `koanf:"agent"`
	// SPKI is the SHA-256 of its public key (SubjectPublicKeyInfo) in hex: this key and no other, whoever signed it.
	SPKI string `koanf:"spki"`
	// SAN is a name in it instead, as "dns:worker.example", "uri:spiffe://example/worker" or "email:a@example". Danger: whoever
	// the authority gives a certificate of that name is the agent.
	SAN string `koanf:"san"`
}

func (c Config) validateClientCertificates() error {
	p := c.Proxy
	if p.ClientCA != "" && p.TLSCert == "" {
		return problem("proxy.client_ca", "client_ca in proxy: certificates are shown over TLS: set tls_cert and tls_key")
	}
	if p.ClientCA == "" && len(p.ClientCertRequired) > 0 {
		return problem("proxy.client_cert_required", "client_cert_required in proxy: set client_ca, or no certificate is verified")
	}
	for _, name := range keys(c.ClientCertificates) {
		s, at := c.ClientCertificates[name], "client_certificate."+name
		if err := checkLabel("client_certificate", name); err != nil {
			return problem(at, "%w", err)
		}
		kind, value, _ := strings.Cut(s.SAN, ":")
		spki, err := hex.DecodeString(s.SPKI)
		switch {
		case s.Tenant == "" || s.Agent == "":
			return problem(at, "client_certificate %q: tenant and agent are required", name)
		case (s.SPKI == "") == (s.SAN == ""):
			return problem(at, "client_certificate %q: set either spki or san", name)
		case s.SPKI != "" && (err != nil || len(spki) != 32):
			return problem(at+".spki", "spki in client_certificate: want a SHA-256 in hex")
		case s.SAN != "" && (value == "" || !slices.Contains([]string{"dns", "uri", "email"}, kind)):
			return problem(at+".san", "san in client_certificate: want dns:NAME, uri:URI or email:ADDRESS, have %q", s.SAN)
		}
	}
	return nil
}
