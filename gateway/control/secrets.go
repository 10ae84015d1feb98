package control

import (
	"context"
	"fmt"
)

// Vault keeps upstream secrets; vault.Vault is one. There is no way to read a secret here, on purpose.
type Vault interface {
	Put(ctx context.Context, tenant, name string, secret []byte) error
	List(ctx context.Context, tenant string) ([]string, error)
	Delete(ctx context.Context, tenant, name string) error
}

type secret struct {
	Name string `json:"name"`
}

type secretPath struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9._-]{0,62}$" maxLength:"63"`
}

// putSecretIn is the only place where a secret comes in, and there is none where it goes out.
type putSecretIn struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9._-]{0,62}$" maxLength:"63"`
	Body struct {
		Value string `json:"value" minLength:"1" maxLength:"65536" doc:"the secret; it is never shown again"`
	}
}

func (m *mounting) secrets() {
	vault := m.api.deps.Vault
	handle(m, "list-secrets", func(ctx context.Context, c *call, in *listing) (*paged[secret], error) {
		names, err := vault.List(ctx, c.caller.Tenant())
		if err != nil {
			return nil, fmt.Errorf("list secrets: %w", err)
		}
		return paginate(c, *in, names, func(n *string) string { return *n }, func(n *string) secret { return secret{*n} })
	})
	handle(m, "put-secret", func(ctx context.Context, c *call, in *putSecretIn) (*none, error) {
		value := []byte(in.Body.Value)
		defer clear(value)
		return nil, vault.Put(ctx, c.caller.Tenant(), in.Name, value)
	})
	handle(m, "delete-secret", func(ctx context.Context, c *call, in *secretPath) (*none, error) {
		return nil, vault.Delete(ctx, c.caller.Tenant(), in.Name)
	})
}
