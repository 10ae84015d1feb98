package config

import (
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// validatePolicies refuses sources that cannot be read, or that cannot be told apart.
func (c Config) validatePolicies() error {
	if err := c.Policies.For("").validate("policies", "policies"); err != nil {
		return err
	}
	for _, name := range keys(c.Policies.Tenants) {
		if err := checkLabel("tenant", name); err != nil {
			return problem("policies.tenant."+name, "%w", err)
		}
		t := c.Policies.Tenants[name]
		if err := t.validate("policies.tenant."+name, "policies.tenant"); err != nil {
			return err
		}
		if len(c.Policies.Keys) > 0 && len(t.Keys) == 0 {
			return problem("policies.tenant."+name, "keys in policies.tenant: policies asks for signatures, and %q would do without: a tenant's block takes nothing from the common one (name the keys here as well)", name)
		}
	}
	return nil
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (t TenantPolicies) validate(at, in string) error {
	switch {
	case t.Bundle != "" && t.Git != "":
		return problem(at+".git", "git in %s: bundle is set too; the rules come from one of them", in)
	case t.Git == "" && (t.Commit != "" || t.Path != "" || t.TokenEnv != ""):
		return problem(at+".git", "git in %s: commit, path and token_env belong to a repository, and none is named", in)
	case t.Git != "" && !isGitURL(t.Git):
		return problem(at+".git", "git in %s: want an absolute path, file:// or https://, without user info, query or fragment", in)
	case t.Commit != "" && !commitForm.MatchString(t.Commit):
		return problem(at+".commit", "commit in %s: want the 40 hex digits of a commit, in lower case", in)
	case t.Path != "" && (path.Clean(t.Path) != t.Path || path.IsAbs(t.Path) || t.Path == ".." || strings.HasPrefix(t.Path, "../")):
		return problem(at+".path", "path in %s: want a folder of the repository, with slashes and without ..", in)
	case t.Git != "" && t.Commit == "" && t.Ref == "":
		return problem(at+".ref", "ref in %s: a branch or a tag is needed where no commit is pinned", in)
	case strings.ContainsAny(t.TokenEnv, "= "):
		return problem(at+".token_env", "token_env in %s: want the name of a variable, not its value", in)
	}
	for _, k := range t.Keys {
		if _, err := ledger.ParseVerifierKey(k); err != nil {
			return problem(at+".keys", "keys in %s: %w", in, err)
		}
	}
	return nil
}

func isGitURL(s string) bool {
	if filepath.IsAbs(s) {
		return true
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return false
	case u.Scheme == "file":
		return u.Host == "" && filepath.IsAbs(u.Path)
	}
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopbackURL(s))
}
