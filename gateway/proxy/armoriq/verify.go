package armoriq

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// check is a question about a token and one of its plan's steps.
type check struct {
	token               shown
	path, digest, value string
	tool                string
	proof               []byte
	index               json.Number
}

// readVerifyAction reads POST /verify/action: does this proof show that the action is a step of the token's plan?
func readVerifyAction(r *request) error {
	k := check{token: shown{d: r.Dialect}}
	err := readObject(r.body, "", fields{
		"path": text(&k.path, 256), "value": text(&k.value, 1024), "proof": value(&k.proof), "token": k.token.at,
	})
	switch {
	case err != nil:
		return err
	case k.path == "" || k.value == "" || k.proof == nil || k.token.jwt == "":
		return malformed("", "path, value, proof and token are needed")
	}
	k.tool = k.value
	return r.verify(&k)
}

// readVerifyStep reads POST /iap/verify-step: may this step of the token's plan be taken as things stand?
func readVerifyStep(r *request) error {
	k := check{token: shown{d: r.Dialect}}
	var about []byte
	err := readObject(r.body, "", fields{
		"token": k.token.at, "path": text(&k.path, 256), "step_index": number(&k.index), "tool_name": text(&k.tool, 1024),
		"proof": value(&k.proof), "context": object(&about),
	})
	if err == nil && about != nil {
		err = readObject(about, "/context", fields{"csrg_value_digest": text(&k.digest, 128)})
	}
	switch {
	case err != nil:
		return err
	case k.token.jwt == "":
		return malformed("/token", "a token is needed")
	case k.path == "" && k.index == "" && k.tool == "":
		return malformed("", "name the step by path, step_index or tool_name: a token alone says nothing about a step")
	}
	return r.verify(&k)
}

// verify makes the question an operation on the line, which verifies the token first.
func (r *request) verify(k *check) error {
	r.judge = true
	r.c.Shown.Token = []byte(k.token.jwt)
	r.own("tokens/verify", "check_policy", func(context.Context) (any, error) { return r.verified(k) })
	return nil
}

// verified answers it. What is not so is an answer too.
func (r *request) verified(k *check) (any, error) {
	refused := func(reason string) (any, error) {
		return map[string]any{"success": true, "allowed": false, "action": "block", "reason": reason}, nil
	}
	tok := r.c.Token
	if err := r.Verifier.Bears(tok, r.bearer(), r.c.Started); err != nil {
		return refused("bearer_mismatch: " + err.Error())
	}
	grown, held, why := r.planNow(tok)
	if held == nil {
		return refused(why)
	}
	i, err := r.stepMeant(k, tok, held)
	if err != nil {
		return refused(err.Error())
	}
	c := grown.Claims()
	return map[string]any{
		"success": true, "allowed": true, "action": "allow", "reason": "the step is in the plan",
		"plan_id": c.PlanID, "plan_hash": c.PlanHash.String(), "expiresAt": c.Expires,
		"step":            map[string]any{"step_index": i, "path": "/steps/[" + strconv.Itoa(i) + "]/action"},
		"execution_state": map[string]any{"current_step": i},
	}, nil
}

// planNow is the plan that the token stands for, grown as it may have; why says what became of it when there is none.
func (r *request) planNow(tok *intent.Token) (grown *intent.Token, held *intent.Held, why string) {
	tenant := r.c.Caller.Tenant()
	if chain := r.Plans.Anchors(tenant, tok.PlanRoot()); chain != nil && tok.Claims().Parents == nil {
		var err error
		if tok, err = r.Verifier.Reanchor(tok, chain); err != nil {
			return nil, nil, err.Error()
		}
	}
	held, state, ok := r.Plans.Held(tenant, tok.PlanRoot())
	switch {
	case !ok:
		return nil, nil, "plan_not_held: this gateway does not hold the token's plan"
	case held == nil:
		return nil, nil, "plan_" + string(state) + ": the plan is " + string(state)
	}
	return tok, held, ""
}

// stepMeant finds the step in question and holds everything that was said about it against the plan. Path, proof and
// digest are of the plan that the token was issued for; a tool alone is looked for in what that has grown into.
func (r *request) stepMeant(k *check, tok *intent.Token, held *intent.Held) (int, error) {
	own, _, _ := r.Plans.Held(r.c.Caller.Tenant(), tok.PlanRoot())
	if own == nil {
		own = held
	}
	if k.path == "" && k.index == "" {
		return lowest(held, tok, k.tool)
	}
	index, err := k.stepIndex()
	if err != nil {
		return 0, err
	}
	_, _, name, _, ok := own.Step(index)
	switch {
	case !ok || !covers(tok, index):
		return 0, &intent.Error{Reason: intent.StepUnknown, Msg: "the token covers no step " + strconv.Itoa(index)}
	case k.tool != "" && k.tool != name:
		return 0, &intent.Error{Reason: intent.ToolMismatch, Msg: "step " + strconv.Itoa(index) + " takes another tool"}
	case k.digest != "" && !isDigest([]byte(k.digest), name):
		return 0, mismatch("the digest is not that of the step's action")
	case k.proof == nil || canon.KindOf(k.proof) == 'n':
		return index, nil
	}
	siblings, err := readProof(k.proof, "/proof")
	if err != nil {
		return 0, err
	}
	return index, own.VerifyPath(index, siblings)
}

func (k *check) stepIndex() (int, error) {
	index := -1
	if k.path != "" {
		i, ok := stepPath(k.path, false)
		if !ok {
			return 0, malformed("/path", "must be /steps/[i]/action or /steps/[i]/tool")
		}
		index = i
	}
	if k.index != "" {
		i, err := strconv.Atoi(string(k.index))
		if err != nil || i < 0 || index >= 0 && i != index {
			return 0, malformed("/step_index", "must be the whole number in path")
		}
		index = i
	}
	return index, nil
}

func lowest(h *intent.Held, tok *intent.Token, tool string) (int, error) {
	for i := range h.Size() {
		if _, _, name, _, _ := h.Step(i); name == tool && covers(tok, i) {
			return i, nil
		}
	}
	return 0, &intent.Error{Reason: intent.ToolMismatch, Msg: "no step of the plan takes this tool"}
}

func covers(tok *intent.Token, index int) bool {
	steps := tok.Claims().Steps
	if steps == nil {
		return true
	}
	for _, s := range steps {
		if int(s) == index {
			return true
		}
	}
	return false
}

// readPublicKey reads GET /iap/public-key: the key that signs tokens and their outer form, in each spelling that clients
// read. The key set with all of them is /.well-known/jwks.json.
func readPublicKey(r *request) error {
	r.own("keys/read", "read_account", func(context.Context) (any, error) {
		pub := r.Signer.Key.Public().(ed25519.PublicKey)
		return map[string]any{
			"public_key": r.publicKey(), "algorithm": "EdDSA", "kid": r.Signer.KeyID, "jwks_uri": "/.well-known/jwks.json",
			"jwk": map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": r.Signer.KeyID, "x": base64.RawURLEncoding.EncodeToString(pub)},
		}, nil
	})
	return nil
}
