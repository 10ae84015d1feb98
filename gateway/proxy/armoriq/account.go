package armoriq

import (
	"context"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// elsewhere refuses to a runtime key what takes a person.
func elsewhere(text, hint string) *pipeline.Denial {
	d := pipeline.Deny(pipeline.WrongKeyKind, text)
	d.Hint = hint
	return d
}

// readBootstrap reads POST /iap/sdk/bootstrap: who the key is, and the servers and tools it may hope for.
func readBootstrap(r *request) error {
	r.own("account/read", "read_account", func(ctx context.Context) (any, error) {
		org, err := r.People.Org(ctx, r.c.Caller.Tenant())
		if err != nil {
			return nil, err
		}
		agent, err := r.People.Agent(ctx, r.c.Caller.Tenant(), r.c.Caller.Agent())
		if err != nil {
			return nil, err
		}
		mcps, where, twice := []any{}, map[string]string{}, map[string]bool{}
		for _, s := range r.servers() {
			mcps = append(mcps, s.brief())
			for _, t := range s.tools {
				if _, taken := where[t.Name]; taken {
					twice[t.Name] = true
				}
				where[t.Name] = s.name
			}
		}
		for name := range twice {
			delete(where, name) // which server is meant only its caller knows
		}
		return map[string]any{
			"success": true, "org": map[string]any{"id": org.Tenant, "orgId": org.Tenant, "name": org.Name},
			"agent": map[string]any{"agentId": agent.ID, "name": agent.Name, "status": agent.Status}, "userId": r.c.Caller.User(),
			"mcps": mcps, "toolMap": where,
		}, nil
	})
	return nil
}

// readResolveUser reads POST /iap/sdk/resolve-user. A runtime key knows one person, who answers for it.
func readResolveUser(r *request) error {
	var email string
	if err := readObject(r.body, "", fields{"userEmail": text(&email, 320)}); err != nil {
		return err
	}
	if email == "" {
		return malformed("/userEmail", "is needed")
	}
	r.own("account/read", "read_account", func(ctx context.Context) (any, error) {
		u, err := r.People.User(ctx, r.c.Caller.Tenant(), r.c.Caller.User())
		if err != nil || !strings.EqualFold(u.ID, email) && !strings.EqualFold(u.Email, email) {
			d := pipeline.Deny(pipeline.NotFound, "this key does not act for that person")
			d.Hint = "a call is made for the person its credential names: give each person's client a key or a JWT of a configured login"
			return nil, d
		}
		return map[string]any{
			"success": true, "userId": u.ID, "email": u.Email, "name": u.Name, "role": strings.ToLower(string(u.Role)), "teams": u.Teams,
			"orgId": r.c.Caller.Tenant(), "active": true, "policies": []any{}, "approvers": []any{},
		}, nil
	})
	return nil
}

// readOrgs reads GET /iap/sdk/orgs: a key is of one organisation.
func readOrgs(r *request) error {
	r.own("account/read", "read_account", func(ctx context.Context) (any, error) {
		org, err := r.People.Org(ctx, r.c.Caller.Tenant())
		if err != nil {
			return nil, err
		}
		return map[string]any{"success": true, "data": []any{map[string]any{
			"orgId": org.Tenant, "name": org.Name, "userRole": "agent", "memberCount": 1, "active": true,
		}}}, nil
	})
	return nil
}

// readSwitchOrg reads POST /iap/sdk/switch-org: a key of another organisation is not a runtime key's to make.
func readSwitchOrg(r *request) error {
	var org string
	if err := readObject(r.body, "", fields{"org": text(&org, 128)}); err != nil {
		return err
	}
	switch org {
	case "":
		return malformed("/org", "is needed")
	case r.c.Caller.Tenant():
		return malformed("/org", "this key is of that organisation already")
	}
	return elsewhere("a runtime key is of one organisation", "sign in there with `login`, or ask an admin of it for a key")
}

// readKeys reads GET /api-keys: the calling key, and no other.
func readKeys(r *request) error {
	r.own("account/read", "read_account", func(ctx context.Context) (any, error) {
		k, err := r.People.Key(ctx, r.c.Caller.Tenant(), r.c.Caller.KeyID())
		if err != nil {
			return nil, pipeline.Deny(pipeline.NotFound, "this caller has no API key here").Because(err)
		}
		row := map[string]any{"id": k.ID, "name": k.Name, "mode": k.Mode, "agentId": k.Agent, "createdAt": k.Created.UTC().Format(time.RFC3339), "active": true}
		if !k.Expires.IsZero() {
			row["expiresAt"] = k.Expires.UTC().Format(time.RFC3339)
		}
		return map[string]any{"success": true, "data": []any{row}}, nil
	})
	return nil
}

// readRevokeKey reads POST /api-keys/{id}/revoke: a key may end itself.
func readRevokeKey(r *request) error {
	if r.id != r.c.Caller.KeyID() {
		return elsewhere("a runtime key revokes only itself", "`gatewright agent` and the control port revoke others")
	}
	r.own("account/revoke", "report", func(ctx context.Context) (any, error) {
		if err := r.People.RevokeKey(ctx, r.c.Caller.Tenant(), r.id); err != nil {
			return nil, pipeline.Deny(pipeline.NotFound, "this caller has no API key here").Because(err)
		}
		return map[string]any{"success": true, "id": r.id, "revoked": true}, nil
	})
	return nil
}

// readLease reads GET /observability/policy/lease: what a client may report of its users' content to this gateway, which
// is nothing. The ledger has the calls.
func readLease(r *request) error {
	r.own("account/read", "read_account", func(context.Context) (any, error) {
		return map[string]any{
			"captureMode": "off", "revision": 0, "expiresAt": r.Now().Add(time.Hour).UTC().Format(time.RFC3339),
			"contentCaptureAllowed": false, "externalContentCaptureAllowed": false,
		}, nil
	})
	return nil
}

// could asks policy whether the caller could call the tool with some arguments under a plan.
func (r *request) could(server, tool string) bool {
	d := r.decide(r.ifCalled(target{server: server, tool: tool}, nil, "", 0, nil))
	return d.Allowed() || d.Held()
}
