package armoriq

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// sibling is one hash of a proof on the wire: position is the side on which it stands.
type sibling struct {
	Position string `json:"position"`
	Hash     string `json:"sibling_hash"`
}

// proofOf is the proof of step i as clients carry it.
func proofOf(h *intent.Held, i int) []sibling {
	out := []sibling{} // a plan of one step has an empty proof, not none
	for _, s := range h.Siblings(i) {
		side := "right"
		if s.Left {
			side = "left"
		}
		out = append(out, sibling{side, s.Hash.String()})
	}
	return out
}

// readProof reads an array of {position, sibling_hash}; {sibling, position} and "L", "R" occur too.
func readProof(raw []byte, at string) ([]intent.Sibling, error) {
	var out []intent.Sibling
	err := elements(raw, at, 32, func(v []byte, at string) error {
		var side, hash string
		err := readObject(v, at, fields{"position": text(&side, 8), "sibling_hash": text(&hash, 64), "sibling": text(&hash, 64)})
		if err != nil {
			return err
		}
		s := intent.Sibling{}
		switch side {
		case "left", "L":
			s.Left = true
		case "right", "R":
		default:
			return malformed(at+"/position", `must be "left" or "right"`)
		}
		if err := s.Hash.UnmarshalText([]byte(hash)); err != nil {
			return malformed(at+"/sibling_hash", "must be 64 lower-case hex digits")
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// stepPath reads /steps/[i]/action, /steps/[i]/tool or, for a subtree, /steps/[i]. Both leaves are the same step.
func stepPath(path string, subtree bool) (int, bool) {
	rest, ok := strings.CutPrefix(path, "/steps/[")
	digits, leaf, closed := strings.Cut(rest, "]")
	if !ok || !closed || digits == "" || len(digits) > 5 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	if leaf != "/action" && leaf != "/tool" && !(subtree && leaf == "") {
		return 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// proof reads the X-CSRG-* headers and leaves their judgement to the line, which knows the plan. What they prove is that
// the client means a step of this plan with this tool; which step is taken the gateway decides by server, tool and
// arguments. Clients name the first step with an equal action, whatever its server.
func (r *request) proof(tool string) error {
	head := &r.x.Head.CSRG
	if head.Path == nil && head.SubtreePath == nil {
		if head.Proof != nil || head.Digest != nil {
			return pipeline.Deny(pipeline.HeaderMismatch, "X-CSRG-Proof and X-CSRG-Value-Digest need X-CSRG-Path")
		}
		return nil
	}
	var checks []func(h *intent.Held) error
	if head.Path != nil {
		check, err := stepProof(string(head.Path), head.Proof, head.Digest, tool, r.JSON)
		if err != nil {
			return err
		}
		checks = append(checks, check)
	}
	if head.SubtreePath != nil {
		check, err := r.subtreeProof(head)
		if err != nil {
			return err
		}
		checks = append(checks, check)
	}
	r.c.Shown.Prove = func(h *intent.Held) error {
		for _, check := range checks {
			if err := check(h); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// shownProof says whether a step's path stands there with a proof; some clients write null for none.
func shownProof(h *proxy.CSRG) bool {
	return h.Path != nil && len(h.Proof) > 0 && string(h.Proof) != "null"
}

func mismatch(text string) error {
	return &intent.Error{Reason: intent.ProofMismatch, Msg: text, Hint: "send path, proof and digest as they were issued with the token"}
}

// stepProof is the check of one step's path, proof and digest against the plan.
func stepProof(path string, proof, digest []byte, tool string, lim canon.Limits) (func(h *intent.Held) error, error) {
	index, ok := stepPath(path, false)
	if !ok {
		return nil, malformed("", "X-CSRG-Path must be /steps/[i]/action or /steps/[i]/tool")
	}
	var siblings []intent.Sibling
	shown := len(proof) > 0 && string(proof) != "null"
	if shown {
		if err := canon.Check(proof, lim); err != nil {
			return nil, malformed("", "X-CSRG-Proof is not strict JSON: "+err.Error())
		}
		var err error
		if siblings, err = readProof(proof, "X-CSRG-Proof"); err != nil {
			return nil, err
		}
	}
	return func(h *intent.Held) error {
		_, _, name, _, ok := h.Step(index)
		switch {
		case !ok:
			return &intent.Error{Reason: intent.StepUnknown, Msg: "the plan has no step " + strconv.Itoa(index)}
		case name != tool:
			return mismatch("the step of X-CSRG-Path takes another tool than the call")
		case digest != nil && !isDigest(digest, name):
			return mismatch("X-CSRG-Value-Digest is not that of the step's action")
		case !shown:
			return nil
		}
		return h.VerifyPath(index, siblings)
	}, nil
}

// isDigest says whether digest is SHA-256 of the action as a JSON string. Their Python client escapes what is not ASCII,
// the JavaScript one does not; both are the same name.
func isDigest(digest []byte, action string) bool {
	plain := canon.AppendString(nil, action)
	python, err := canon.AppendPython(nil, plain, canon.DefaultLimits())
	if err != nil {
		return false
	}
	for _, text := range [][]byte{plain, python} {
		sum := sha256.Sum256(text)
		if hex.EncodeToString(sum[:]) == string(digest) {
			return true
		}
	}
	return false
}

// subtreeProof reads the headers of a call under a delegated subtree and confines the call to it.
func (r *request) subtreeProof(head *proxy.CSRG) (func(h *intent.Held) error, error) {
	index, ok := stepPath(string(head.SubtreePath), true)
	if !ok {
		return nil, malformed("", "X-CSRG-Subtree-Path must be /steps/[i]")
	}
	var root merkle.Hash
	if err := root.UnmarshalText(head.SubtreeRoot); err != nil {
		return nil, malformed("", "X-CSRG-Subtree-Root must be 64 lower-case hex digits")
	}
	var siblings []intent.Sibling
	if len(head.Subtrees) > 0 {
		raw, err := base64.StdEncoding.DecodeString(string(head.Subtrees))
		if err != nil || canon.Check(raw, r.JSON) != nil {
			return nil, malformed("", "X-CSRG-Subtree-Proof is not base64 of a JSON array")
		}
		if siblings, err = readProof(raw, "X-CSRG-Subtree-Proof"); err != nil {
			return nil, err
		}
	}
	r.c.Shown.At = index + 1
	parent := string(head.ParentRoot)
	return func(h *intent.Held) error {
		switch {
		case index >= h.Size() || h.LeafHash(index) != root:
			return mismatch("X-CSRG-Subtree-Root is not that of the step")
		case parent != "" && parent != h.Hash().String() && parent != h.Root().String():
			return mismatch("X-CSRG-Parent-Root is not that of the plan")
		}
		return h.VerifyPath(index, siblings)
	}, nil
}
