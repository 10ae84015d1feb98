package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ClientCertificate says which agent a client's certificate is: by the digest of its public key, or by a name in it. The data port
// has verified its chain; a name is worth what the authority checks before it writes one.
type ClientCertificate struct {
	Name          string // in records and key ids as "cert:NAME"
	Tenant, Agent string // the agent by id or name
	SPKI          []byte // SHA-256 of the SubjectPublicKeyInfo; nil: SAN tells
	SAN           string // "dns:NAME", "uri:URI" or "email:ADDRESS", exactly
}

// certPrefix begins the key id of who shows a certificate alone. AuthenticateHolder refuses it, as that of access tokens.
const certPrefix = "cert:"

const maxCertificates = 1000

// certificates are all that are configured.
type certificates struct {
	all      []*clientCertificate
	required map[string]bool // tenants
}

type clientCertificate struct {
	ClientCertificate
	last atomic.Pointer[who]
}

// SetCertificates replaces the certificates that stand for agents, and the tenants whose callers must show one.
func (d *Directory) SetCertificates(list []ClientCertificate, required []string) error {
	if len(list) > maxCertificates {
		return fmt.Errorf("%d client certificates, at most %d: %w", len(list), maxCertificates, ErrInvalid)
	}
	next := &certificates{required: map[string]bool{}}
	for _, c := range list {
		kind, name, _ := strings.Cut(c.SAN, ":")
		switch {
		case c.Tenant == "" || c.Agent == "":
			return fmt.Errorf("client certificate %q: tenant and agent are required: %w", c.Name, ErrInvalid)
		case (c.SPKI == nil) == (c.SAN == ""):
			return fmt.Errorf("client certificate %q: set either spki or san: %w", c.Name, ErrInvalid)
		case c.SPKI != nil && len(c.SPKI) != sha256.Size:
			return fmt.Errorf("client certificate %q: spki is no SHA-256: %w", c.Name, ErrInvalid)
		case c.SAN != "" && (name == "" || !slices.Contains([]string{"dns", "uri", "email"}, kind)):
			return fmt.Errorf("client certificate %q: san begins with dns:, uri: or email: : %w", c.Name, ErrInvalid)
		}
		next.all = append(next.all, &clientCertificate{ClientCertificate: c})
	}
	for _, tenant := range required {
		next.required[tenant] = true
	}
	d.certs.Store(next)
	return nil
}

// find returns the one that a certificate is; nil for none. One that is two agents is nobody: it would be the caller's choice.
func (s *certificates) find(leaf *x509.Certificate) (found *clientCertificate, refusal *Refusal) {
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for _, c := range s.all {
		if !c.is(leaf, sum[:]) {
			continue
		}
		if found != nil && (found.Tenant != c.Tenant || found.Agent != c.Agent) {
			return nil, refusedCertificate
		}
		found = c
	}
	return found, nil
}

func (c *clientCertificate) is(leaf *x509.Certificate, sum []byte) bool {
	if c.SPKI != nil {
		return bytes.Equal(c.SPKI, sum)
	}
	kind, name, _ := strings.Cut(c.SAN, ":")
	switch kind {
	case "dns":
		return slices.Contains(leaf.DNSNames, name)
	case "email":
		return slices.Contains(leaf.EmailAddresses, name)
	}
	for _, u := range leaf.URIs {
		if u.String() == name {
			return true
		}
	}
	return false
}

// AuthenticateCertificate makes the Caller of the agent that a client's certificate is. Its chain must have been verified.
func (d *Directory) AuthenticateCertificate(leaf *x509.Certificate, now time.Time) (Caller, error) {
	set := d.certs.Load()
	if set == nil || leaf == nil {
		return Caller{}, refusedCertificate
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) { // a connection may outlive it
		return Caller{}, refusedCertificateTime
	}
	c, refusal := set.find(leaf)
	if refusal != nil {
		return Caller{}, refusal
	}
	if c == nil {
		return Caller{}, refusedCertificate
	}
	w, refusal := d.visitor(c.Tenant, certPrefix+c.Name, "", c.Agent, c.last.Load())
	if refusal != nil {
		return Caller{}, refusal
	}
	c.last.Store(w)
	return Caller{w}, nil
}

// Fits holds a caller's other credential against the certificate of its connection, nil for none: one that is an agent's goes with
// that agent's credentials alone, and where the tenant requires one nothing goes without.
func (d *Directory) Fits(c Caller, leaf *x509.Certificate, now time.Time) error {
	set := d.certs.Load()
	if set == nil || leaf == nil && !set.required[c.Tenant()] {
		return nil
	}
	if leaf == nil {
		return refusedCertificateNone
	}
	found, refusal := set.find(leaf)
	switch {
	case refusal != nil:
		return refusal
	case found == nil && !set.required[c.Tenant()]:
		return nil
	}
	by, err := d.AuthenticateCertificate(leaf, now)
	if err != nil {
		return err
	}
	if by.Tenant() != c.Tenant() || by.Agent() != c.Agent() {
		return refusedCertificateOther
	}
	return nil
}
