package config

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxOrigin bounds a log's origin line in bytes: the longest that an ML-DSA-44 cosignature can name.
const maxOrigin = 255

// validateWitnesses refuses witnesses that cannot be asked.
func (c Config) validateWitnesses() error {
	seen := map[string]string{}
	for _, name := range keys(c.Ledger.Witnesses) {
		w, at := c.Ledger.Witnesses[name], "ledger.witness."+name
		if err := checkLabel("witness", name); err != nil {
			return problem(at, "%w", err)
		}
		switch {
		case w.URL == "" || w.Key == "":
			return problem(at, "witness %q: url and key are required", name)
		case !isWitnessURL(w.URL):
			return problem(at+".url", "url in ledger.witness: want http or https, a host, and no user info, query or fragment")
		case c.Mode == "production" && strings.HasPrefix(w.URL, "http:") && !isLoopbackURL(w.URL):
			return problem(at+".url", "url in ledger.witness: production mode asks a witness beyond loopback only over https: who can hold its answers back can hide that the ledger was cut")
		case seen[w.Key] != "":
			return problem(at+".key", "key in ledger.witness: it is already that of witness %q", seen[w.Key])
		}
		if _, err := ledger.ParseWitnessKey(w.Key); err != nil {
			return problem(at+".key", "key in ledger.witness: %w", err)
		}
		seen[w.Key] = name
	}
	return nil
}

// validateWitness refuses logs that cannot be watched.
func (c Config) validateWitness() error {
	if !isKeyName(c.Witness.Name) && c.Witness.Name != "" {
		return problem("witness.name", "name in witness: want up to 255 characters without blanks and +, have %q", clip(c.Witness.Name))
	}
	seen := map[string]string{}
	for _, name := range keys(c.Witness.Logs) {
		l, at := c.Witness.Logs[name], "witness.log."+name
		if err := checkLabel("log", name); err != nil {
			return problem(at, "%w", err)
		}
		switch {
		case l.Origin == "" || len(l.Keys) == 0:
			return problem(at, "log %q: origin and keys are required", name)
		case len(l.Origin) > maxOrigin:
			return problem(at+".origin", "origin in witness.log: want at most %d bytes", maxOrigin)
		case seen[l.Origin] != "":
			return problem(at+".origin", "origin in witness.log: it is already that of log %q", seen[l.Origin])
		}
		for _, k := range l.Keys {
			if _, err := ledger.ParseKey(k); err != nil {
				return problem(at+".keys", "keys in witness.log: %w", err)
			}
		}
		seen[l.Origin] = name
	}
	return nil
}

func isKeyName(s string) bool {
	return s != "" && len(s) <= maxOrigin && !strings.Contains(s, "+") && !strings.ContainsFunc(s, unicode.IsSpace)
}

func isWitnessURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && !strings.HasSuffix(s, "#")
}

func isLoopbackURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.Unmap().IsLoopback()
}
