package armoriq

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/intent"
)

// delta is a change of trust as their clients read it. JWS is the signed statement; Payload says the same in the members
// that they look for.
type delta struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Payload map[string]any `json:"payload"`
	JWS     string         `json:"jws"`
}

func (r *request) deltaOf(raw string, more map[string]any) (delta, error) {
	d, err := r.Verifier.Delta([]byte(raw))
	if err != nil {
		return delta{}, err
	}
	c := d.Claims()
	p := map[string]any{"type": c.Kind, "issued_at": c.IssuedAt, "from_hash": c.From.Hash.String(), "plan_id": c.From.ID}
	maps.Copy(p, more)
	return delta{ID: c.ID, Type: c.Kind, Payload: p, JWS: raw}, nil
}

// readRevoke reads POST /iap/trust/revoke. A token derived from the one revoked is refused in either case; with cascade
// each is revoked for itself and named.
func readRevoke(r *request) error {
	token := shown{d: r.Dialect}
	cascade, reason, reference := true, "", ""
	err := readObject(r.body, "", fields{
		"token": token.at, "reason": text(&reason, 256), "cascade": boolean(&cascade), "intentReference": text(&reference, 256),
	})
	if err != nil {
		return err
	}
	if token.jwt != "" {
		p, ok := peekClaims(token.jwt)
		if !ok || reference != "" && reference != p.id {
			return malformed("/token", "is not the token of intentReference")
		}
		reference = p.id
	}
	if reference == "" {
		return malformed("/token", "a token or an intentReference is needed")
	}
	r.own("tokens/revoke", "revoke_token", func(ctx context.Context) (any, error) {
		out, err := r.Plans.RevokeTree(ctx, plans.Actor{Owner: r.owner()}, reference, reason, cascade)
		if err != nil {
			return nil, err
		}
		answer := map[string]any{"success": true, "tokenId": out.Token, "cascadedRevocations": slices.Concat([]string{}, out.Cascaded)}
		if out.Delta != "" {
			d, err := r.deltaOf(out.Delta, map[string]any{"token_id": out.Token, "revoked": out.Cascaded})
			if err != nil {
				return nil, err
			}
			answer["trustId"], answer["delta"] = d.ID, d
		}
		return answer, nil
	})
	return nil
}

// readReanchor reads POST /iap/trust/reanchor: the plan has grown, and the client keeps the token it has. What narrowed
// the old plan narrows the new one.
func readReanchor(r *request) error {
	var plan []byte
	var reason, planID string
	token := shown{d: r.Dialect}
	err := readObject(r.body, "", fields{"newPlan": object(&plan), "reason": text(&reason, 256), "planId": text(&planID, 256), "token": token.at})
	if err != nil {
		return err
	}
	if p, ok := peekClaims(token.jwt); ok && planID == "" {
		planID = p.plan
	}
	switch {
	case plan == nil:
		return malformed("/newPlan", "the new plan is needed")
	case planID == "":
		return malformed("/planId", "the plan that has grown is needed")
	}
	_, head, ok := r.Plans.Head(r.owner(), planID)
	if !ok {
		return pipeline.Deny(pipeline.NotFound, "no such plan for this caller, or it has ended").WithReason("plan_not_found")
	}
	p, err := r.planOf(plan, "/newPlan", metadata{Policy: policyIn(head)})
	if err != nil {
		return err
	}
	r.own("plans/reanchor", "capture_plan", func(ctx context.Context) (any, error) {
		if err := r.permitted("reanchor_plan"); err != nil {
			return nil, err
		}
		before, err := r.Plans.View(ctx, r.owner(), planID)
		if err != nil {
			return nil, err
		}
		left := max(before.Expires.Sub(r.Now()), time.Second) // it needs no more than the plan that its token is for
		captured, raw, err := r.Plans.Reanchor(ctx, r.owner(), planID, plans.Draft{Plan: p, AllowLocal: true, TTL: left}, reason)
		if err != nil {
			return nil, err
		}
		d, err := r.deltaOf(raw, map[string]any{"to_hash": captured.Hash.String(), "to_plan_id": captured.ID, "to_merkle_root": captured.Root.String(), "total_steps": captured.Size})
		if err != nil {
			return nil, err
		}
		answer := map[string]any{"success": true, "trustId": d.ID, "delta": d, "planId": planID, "newPlanId": captured.ID, "plan_hash": captured.Hash.String(), "merkle_root": captured.Root.String()}
		if _, held, ok := r.Plans.Head(r.owner(), captured.ID); ok {
			answer["step_proofs"] = (&ticket{held: held}).proofs()
			answer["policy_validation"] = r.validation(held)
		}
		return answer, nil
	})
	return nil
}

// delegated is a delegation as it is asked for, in either wire form.
type delegated struct {
	token   shown
	key     ed25519.PublicKey
	actions []string
	subtree string
	target  string
	ttl     time.Duration
}

// readDelegate reads POST /iap/trust/delegate in its two forms, told apart by subtreePath, and the older
// POST /delegation/create.
func readDelegate(r *request) error {
	d := delegated{token: shown{d: r.Dialect}}
	var key string
	var life json.Number
	err := readObject(r.body, "", fields{
		"token": d.token.at, "parentToken": d.token.at, "delegate_public_key": text(&key, 128), "delegatePublicKey": text(&key, 128),
		"validity_seconds": number(&life), "validitySeconds": number(&life), "allowed_actions": texts(&d.actions, 4096, 1024),
		"target_agent": text(&d.target, 128), "subtreePath": text(&d.subtree, 256),
	})
	if err == nil {
		d.ttl, err = seconds(life, "/validity_seconds")
	}
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return malformed("/delegate_public_key", "must be an Ed25519 public key, 64 hex digits")
	}
	if d.token.jwt == "" {
		return malformed("/token", "the token to delegate is needed")
	}
	d.key = raw
	r.c.Shown.Token = []byte(d.token.jwt) // the line verifies it
	r.own("tokens/delegate", "delegate_token", func(ctx context.Context) (any, error) { return r.delegate(ctx, &d) })
	return nil
}

func (r *request) delegate(ctx context.Context, d *delegated) (any, error) {
	if err := r.knownTarget(ctx, d); err != nil {
		return nil, err
	}
	parent := r.c.Token
	held, _, _ := r.Plans.Held(r.c.Caller.Tenant(), parent.PlanRoot())
	if held == nil {
		return nil, pipeline.Deny(pipeline.PlanInactive, "")
	}
	steps, err := d.steps(held)
	if err != nil {
		return nil, err
	}
	issued, raw, err := r.Plans.Delegate(ctx, r.owner(), parent, plans.Delegation{Key: d.key, Steps: steps, TTL: d.ttl, Bearer: r.bearer()})
	if err != nil {
		return nil, err
	}
	return r.delegation(d, held, issued, raw)
}

// knownTarget holds the key against the agent that is named. A name that no agent here has means nothing: the key alone
// binds the token.
func (r *request) knownTarget(ctx context.Context, d *delegated) error {
	if d.target == "" {
		return nil
	}
	agents, err := r.People.Agents(ctx, r.c.Caller.Tenant())
	if err != nil {
		return err
	}
	for _, a := range agents {
		if (a.ID == d.target || a.Name == d.target) && a.Status != identity.Revoked && a.PublicKey != nil && !a.PublicKey.Equal(d.key) {
			return malformed("/delegate_public_key", "is not the registered key of target_agent")
		}
	}
	return nil
}

// steps are those that the child may take; nil is all.
func (d *delegated) steps(h *intent.Held) ([]int, error) {
	if d.subtree != "" && d.subtree != "/steps" {
		i, ok := stepPath(d.subtree, true)
		if !ok || i >= h.Size() {
			return nil, malformed("/subtreePath", "must be /steps/[i] of the token's plan, or /steps for all")
		}
		return []int{i}, nil
	}
	if d.actions == nil {
		return nil, nil
	}
	steps := []int{}
	for i := range h.Size() {
		_, server, tool, _, _ := h.Step(i)
		if slices.Contains(d.actions, tool) || slices.Contains(d.actions, server+"/"+tool) || slices.Contains(d.actions, server+"__"+tool) {
			steps = append(steps, i)
		}
	}
	if len(steps) == 0 {
		return nil, malformed("/allowed_actions", "names no action of the token's plan: nothing would be left to delegate")
	}
	return steps, nil
}

// delegation is the answer, in both forms at once: the child token, and for a subtree the proof that its step is of the
// parent's plan. A delegated token that is shown without the delegate's key is refused.
func (r *request) delegation(d *delegated, held *intent.Held, issued plans.Issued, raw string) (any, error) {
	t, err := r.Verifier.Token([]byte(issued.Token), r.Now())
	if err != nil {
		return nil, err
	}
	c := t.Claims()
	o, err := r.sealOuter(issued.Token, c, r.identity(), policyIn(held))
	if err != nil {
		return nil, err
	}
	proofs := make([][]sibling, held.Size())
	for i := range proofs {
		if proofs[i] = []sibling{}; covers(t, i) {
			proofs[i] = proofOf(held, i)
		}
	}
	more := map[string]any{"token_id": c.ID, "parent_plan_hash": held.Hash().String(), "delegate_thumbprint": c.Thumbprint, "steps": c.Steps}
	if len(c.Steps) == 1 {
		i := int(c.Steps[0])
		more["inclusion_proof"], more["subtree_node_hash"], more["subtree_path"] = proofOf(held, i), held.LeafHash(i).String(), "/steps/["+strconv.Itoa(i)+"]"
	}
	change, err := r.deltaOf(raw, more)
	if err != nil {
		return nil, err
	}
	child := struct {
		outer
		TokenID    string      `json:"token_id"`
		PlanID     string      `json:"plan_id"`
		Identity   string      `json:"composite_identity"`
		Proofs     [][]sibling `json:"step_proofs"`
		Total      int         `json:"total_steps"`
		Thumbprint string      `json:"delegate_thumbprint"`
	}{o, c.ID, c.PlanID, o.Identity, proofs, held.Size(), c.Thumbprint}
	return map[string]any{
		"success": true, "delegation": child, "delegation_id": c.ID, "trustId": change.ID, "delta": change, "trust_delta": change,
		"expires_at": c.Expires, "jwt_token": issued.Token,
		"metadata": map[string]any{"allowed_steps": c.Steps, "proof_of_possession": "DPoP (RFC 9449) by the delegate's key, unless it is the registered key of the calling agent"},
	}, nil
}

// readPlanStatus reads POST /iap/plans/{id}/status: active|completed|failed|expired. A plan ends once and stays ended.
func readPlanStatus(r *request) error {
	var status string
	if err := readObject(r.body, "", fields{"status": text(&status, 32)}); err != nil {
		return err
	}
	ends := map[string]plans.State{"completed": plans.Completed, "failed": plans.Failed, "expired": plans.Failed}
	to, known := ends[status]
	if !known && status != "active" {
		return malformed("/status", "must be active, completed, failed or expired")
	}
	r.own("plans/state", "end_plan", func(ctx context.Context) (any, error) {
		if known {
			err := r.Plans.SetState(ctx, plans.Actor{Owner: r.owner()}, r.id, to, "client: "+status)
			if err != nil && !errors.Is(err, plans.ErrInactive) {
				return nil, err
			}
		}
		p, err := r.Plans.View(ctx, r.owner(), r.id)
		if err != nil {
			return nil, err
		}
		if !known && p.State != plans.Active {
			return nil, pipeline.Deny(pipeline.PlanInactive, "the plan is "+string(p.State)+" and stays so")
		}
		return map[string]any{"success": true, "plan_id": p.ID, "status": p.State}, nil
	})
	return nil
}
