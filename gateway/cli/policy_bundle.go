package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/gatewright/gatewright/gateway/bundles"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

type policyPushCmd struct {
	controlPort
	bundleFolder
	JSON bool `help:"Print JSON." name:"json"`
}

// Run hands the folder in. The gateway judges it; nothing comes into force.
func (c *policyPushCmd) Run(sh *shell) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	files, size, err := texts(b)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.err, "pushing %d files, %d bytes, digest %s\n", len(files), size, b.Digest())
	r, err := a.PushPolicies(sh.ctx, files)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(r)
	}
	fmt.Fprintf(sh.out, "revision %d %s\n", r.Number, clean(r.State))
	showMoves(sh, r)
	switch {
	case r.State != "idle":
	case len(r.Filters) > 0 || r.Reordered:
		fmt.Fprintf(sh.err, "it is not in force: `gatewright policy activate %d` enforces it; one that changes filters cannot be tried in shadow or canary\n", r.Number)
	case len(r.Warnings) == 0:
		fmt.Fprintf(sh.err, "it is not in force: `gatewright policy activate %d --shadow` tries it, `gatewright policy activate %d` enforces it\n", r.Number, r.Number)
	}
	return nil
}

// texts are a bundle's files as they go over the wire.
func texts(b *policies.Bundle) (files map[string]string, size int, err error) {
	files = map[string]string{}
	for _, name := range b.Files() {
		data, _ := b.File(name)
		if !utf8.Valid(data) {
			return nil, 0, usage("keep only text beside the policies", "%s is no text", plainly(name))
		}
		files[name], size = string(data), size+len(data)
	}
	if sig := b.Signature(); sig != nil {
		files[policies.SignatureFile] = string(sig)
	}
	return files, size, nil
}

type policyActivateCmd struct {
	controlPort
	Number uint64 `arg:"" help:"Number of the revision." placeholder:"N"`
	Shadow bool   `help:"Ask it beside the enforced one and count what would differ; no answer changes." xor:"mode"`
	Canary *int   `help:"Enforce it for this share of the principals, 1 to 99; the others stay." xor:"mode" placeholder:"PERCENT"`
	JSON   bool   `help:"Print JSON." name:"json"`
}

// Run puts a revision in force.
func (c *policyActivateCmd) Run(sh *shell) error {
	mode := "enforce"
	switch {
	case c.Shadow:
		mode = "shadow"
	case c.Canary != nil:
		mode = "canary"
	}
	percent := 0
	if c.Canary != nil {
		if percent = *c.Canary; percent < 1 || percent > 99 {
			return usage("for everybody leave --canary out, for nobody say --shadow", "--canary %d: want 1 to 99", percent)
		}
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	r, err := a.ActivatePolicies(sh.ctx, c.Number, mode, percent)
	if err != nil {
		return err
	}
	return standing(sh, r, c.JSON)
}

type policyRollbackCmd struct {
	controlPort
	Number uint64 `arg:"" optional:"" help:"A revision that was enforced before (default: end what is tried, or go one back)." placeholder:"N"`
	JSON   bool   `help:"Print JSON." name:"json"`
}

// Run undoes the last activation.
func (c *policyRollbackCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	back := a.RollBackPolicies
	if c.Number > 0 {
		back = func(ctx context.Context) (*gatewright.Revision, error) { return a.RollBackPoliciesTo(ctx, c.Number) }
	}
	r, err := back(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(r)
	}
	fmt.Fprintf(sh.out, "revision %d %s, digest %s\n", r.Number, clean(r.State), clean(r.Digest))
	showMoves(sh, r)
	fmt.Fprintln(sh.err, "`gatewright policy history` lists the others, and `gatewright policy activate N` enforces one")
	return nil
}

// standing says what a revision is now, and what may come next.
func standing(sh *shell, r *gatewright.Revision, asJSON bool) error {
	if asJSON {
		return sh.json(r)
	}
	state := clean(r.State)
	if r.Percent != 0 {
		state += fmt.Sprintf(" for %d %% of the principals", r.Percent)
	}
	fmt.Fprintf(sh.out, "revision %d %s, digest %s\n", r.Number, state, clean(r.Digest))
	showMoves(sh, r)
	if r.State == "enforced" {
		fmt.Fprintln(sh.err, "`gatewright policy rollback` goes back to the one before")
	} else {
		fmt.Fprintf(sh.err, "`gatewright policy activate %d` enforces it for all, `gatewright policy rollback` ends the trial\n", r.Number)
	}
	return nil
}

type policyHistoryCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists the revisions, newest first.
func (c *policyHistoryCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	all, err := a.Revisions(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(all)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "N\tSTATE\tCREATED\tFROM\tBY\tSIGNED BY\tNAME\tDIGEST")
	for i := range all {
		r := &all[i]
		state, from := clean(r.State), clean(r.Source)
		if r.Percent != 0 {
			state += fmt.Sprintf(" %d %%", r.Percent)
		}
		if len(r.Commit) > 12 {
			from += " " + clean(r.Commit[:12])
		}
		if r.Problem != "" {
			state += ", damaged"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%.16s\n", r.Number, state, moment(r.Created), from, orDash(r.By), orDash(r.SignedBy), orDash(r.Name), clean(r.Digest))
	}
	return w.Flush()
}

type policySignCmd struct {
	bundleFolder
	Key  string `help:"PEM file of an Ed25519 key (openssl genpkey -algorithm ed25519)." required:"" placeholder:"FILE"`
	Name string `help:"Name of the key, as configurations have it." required:"" placeholder:"NAME"`
}

// Run writes bundle.sig into the folder.
func (c *policySignCmd) Run(sh *shell) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	key, err := ed25519Key(c.Key)
	if err != nil {
		return err
	}
	by, err := ledger.NewSigner(c.Name, key)
	if err != nil {
		return usage("a key's name has no blanks and no +", "%v", err)
	}
	sig, err := bundles.Sign(b, by)
	if err != nil {
		return usage("write it into manifest.json, and a higher version with every edition", "%v", err)
	}
	file := filepath.Join(c.Bundle, policies.SignatureFile)
	if err := os.WriteFile(file, sig, 0o644); err != nil { //nolint:gosec // a signature is for everybody to read
		return fmt.Errorf("write the signature: %w", err)
	}
	fmt.Fprintf(sh.out, "%s\n", by.Public)
	fmt.Fprintf(sh.err, "%s written; the line above is the key for policies.keys in the gateway's configuration\n", file)
	return nil
}

// maxKeyFile bounds a key's file, in bytes.
const maxKeyFile = 16 << 10

func ed25519Key(file string) (ed25519.PrivateKey, error) {
	const how = "make one with `openssl genpkey -algorithm ed25519 -out FILE`"
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, usage(how, "%s is not a key's file that can be read", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, usage(how, "%v", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, usage(how, "%s holds no PEM of a PRIVATE KEY", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, usage(how, "%s: %v", file, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, usage(how, "%s holds no Ed25519 key", file)
	}
	return key, nil
}
