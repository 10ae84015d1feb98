package control

import (
	"context"

	"github.com/gatewright/gatewright/policies"
)

// Bundles is what the gateway enforces, per tenant. Reload loads a tenant's bundle from where it lies and puts it in
// force as a whole; on error the one before stays and is what Current returns.
type Bundles interface {
	Current(tenant string) (*policies.Bundle, bool)
	Reload(ctx context.Context, tenant string) (*policies.Bundle, error)
}

// bundle is what is in force, by name and digest; its content is the policy authors' and stays where it lies.
type bundle struct {
	Digest string   `json:"digest" doc:"SHA-256 that stands in every record decided under it, hex"`
	Files  []string `json:"files" nullable:"false"`
}

type bundleOut struct{ Body bundle }

func (m *mounting) bundles() {
	bundles := m.api.deps.Bundles
	handle(m, "current-bundle", func(_ context.Context, c *call, _ *none) (*bundleOut, error) {
		b, ok := bundles.Current(c.caller.Tenant())
		if !ok {
			return nil, notFound()
		}
		return shapeBundle(b), nil
	})
	handle(m, "reload-bundle", func(ctx context.Context, c *call, _ *none) (*bundleOut, error) {
		b, err := bundles.Reload(ctx, c.caller.Tenant())
		if err != nil {
			m.api.log.Warn("bundle refused", "record", c.id, "tenant", c.caller.Tenant(), "error", err)
			return nil, refuse(422, "bundle_refused", clip(err.Error(), 1000), "the bundle before stays in force")
		}
		c.note("digest", b.Digest().String())
		return shapeBundle(b), nil
	})
}

func shapeBundle(b *policies.Bundle) *bundleOut {
	files := b.Files()
	if files == nil {
		files = []string{}
	}
	return &bundleOut{Body: bundle{Digest: b.Digest().String(), Files: files}}
}
