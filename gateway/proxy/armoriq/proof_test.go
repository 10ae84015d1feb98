package armoriq

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestPathsAreReadStrictly(t *testing.T) {
	for path, want := range map[string]int{"/steps/[0]/action": 0, "/steps/[0]/tool": 0, "/steps/[17]/tool": 17, "/steps/[99999]/action": 99999} {
		for _, subtree := range []bool{false, true} {
			if i, ok := stepPath(path, subtree); !ok || i != want {
				t.Errorf("%s: %d, %v", path, i, ok)
			}
		}
	}
	if i, ok := stepPath("/steps/[3]", true); !ok || i != 3 {
		t.Errorf("a subtree: %d, %v", i, ok)
	}
	for _, path := range []string{
		"", "/steps/[3]", "/steps/3/action", "/steps/[03]/action", "/steps/[00]/action", "/steps/[+3]/action", "/steps/[-0]/action", "/steps/[ 3]/action", "/steps/[]/action",
		"/steps/[3]action", "/steps/[3]/Action", "/steps/[3]/action/", "/steps/[3]/params", "/steps/[3]/action ", " /steps/[3]/action", "/Steps/[3]/action", "steps/[3]/action",
		"/steps/[3/action", "/steps/[3]]/action", "/steps/[[3]]/action", "/steps/[100000]/action", "/steps/[1e1]/action", "/steps/[٣]/action", "/steps/[3]/action\x00",
		"/steps/[99999999999999999999]/action", "/steps/[3]//action", "/steps/[3]/./action", "/x/../steps/[3]/action", "/steps/[0x1]/tool", "/steps/[3]/tool]",
	} {
		if i, ok := stepPath(path, false); ok {
			t.Errorf("%q is step %d", path, i)
		}
	}
}

// TestDigestsOfBothTheirClientsAreTheSameName: one escapes what is not ASCII, the other does not.
func TestDigestsOfBothTheirClientsAreTheSameName(t *testing.T) {
	sum := func(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }
	for name, spelt := range map[string][]string{
		"read":          {`"read"`},
		"lire_café":     {`"lire_café"`, `"lire_caf\u00e9"`},
		"a/b<&>\u2028x": {"\"a/b<&>\u2028x\"", `"a/b<&>\u2028x"`},
		"quote\"\n":     {`"quote\"\n"`},
		"😀":             {`"😀"`, `"\ud83d\ude00"`},
	} {
		for _, s := range spelt {
			if !isDigest([]byte(sum(s)), name) {
				t.Errorf("%s is not taken for %q", s, name)
			}
			if isDigest([]byte(strings.ToUpper(sum(s))), name) || isDigest([]byte(sum(s)+"0"), name) || isDigest([]byte(sum(s)), name+"x") {
				t.Errorf("%s is taken for another", s)
			}
		}
		if isDigest([]byte(sum(name)), name) || isDigest(nil, name) || isDigest([]byte(sum(strings.Trim(spelt[0], `"`)+" ")), name) {
			t.Errorf("what is no digest is taken for that of %q", name)
		}
	}
	if isDigest([]byte("5077b327"), "lire_café") || !isDigest([]byte(sum("\"lire_caf\\u00e9\"")), "lire_café") {
		t.Error("digests are cut")
	}
}

// held is a sealed plan of so many steps, each with a tool of its own.
func held(t *testing.T, tools ...string) *intent.Held {
	t.Helper()
	p := &intent.Plan{Tenant: "demo", User: "usr_1", Agent: "agt_1", Goal: "g"}
	for _, tool := range tools {
		p.Steps = append(p.Steps, intent.Step{Op: "tools/call", Server: "bank", Tool: tool, Args: intent.Args{Additional: true}})
	}
	if err := p.Seal(rand.Reader); err != nil {
		t.Fatal(err)
	}
	h, err := intent.NewHeld(p)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(tool string) []byte {
	s := sha256.Sum256(canon.AppendString(nil, tool))
	return []byte(hex.EncodeToString(s[:]))
}

// TestAProofIsOfItsStepAlone for plans of each size up to nine: every step proves itself, in either spelling, and nothing
// else.
func TestAProofIsOfItsStepAlone(t *testing.T) {
	all := strings.Fields("a b c d e f g h i")
	for n := 1; n <= len(all); n++ {
		h := held(t, all[:n]...)
		for i := range n {
			siblings := proofOf(h, i)
			var older []map[string]string
			for _, s := range siblings {
				older = append(older, map[string]string{"sibling": s.Hash, "position": map[string]string{"left": "L", "right": "R"}[s.Position]})
			}
			spellings := [][]byte{asJSON(t, siblings)}
			if len(older) > 0 {
				spellings = append(spellings, asJSON(t, older))
			}
			for _, proof := range spellings {
				for _, leaf := range []string{"action", "tool"} {
					path := fmt.Sprintf("/steps/[%d]/%s", i, leaf)
					if err := prove(h, path, proof, digestOf(all[i]), all[i]); err != nil {
						t.Errorf("step %d of %d: %v", i, n, err)
					}
					for j := range n {
						if j != i && prove(h, fmt.Sprintf("/steps/[%d]/%s", j, leaf), proof, nil, all[j]) == nil {
							t.Errorf("the proof of step %d of %d is taken for step %d", i, n, j)
						}
					}
				}
			}
			if n == 1 && string(spellings[0]) != "[]" {
				t.Errorf("a plan of one step has the proof %s", spellings[0])
			}
			changed(t, h, i, all[i], siblings)
		}
		if err := prove(h, fmt.Sprintf("/steps/[%d]/action", n), []byte("[]"), nil, "a"); !reason(err, intent.StepUnknown) {
			t.Errorf("step %d of %d: %v", n, n, err)
		}
	}
}

func prove(h *intent.Held, path string, proof, digest []byte, tool string) error {
	check, err := stepProof(path, proof, digest, tool, canon.DefaultLimits())
	if err != nil {
		return err
	}
	return check(h)
}

func reason(err error, want intent.Reason) bool {
	var e *intent.Error
	return errors.As(err, &e) && e.Reason == want
}

// changed tries each proof that differs in one place.
func changed(t *testing.T, h *intent.Held, i int, tool string, proof []sibling) {
	t.Helper()
	path := fmt.Sprintf("/steps/[%d]/action", i)
	tampered := [][]sibling{append(slices.Clone(proof), sibling{"left", strings.Repeat("0", 64)})}
	for k := range proof {
		for _, change := range []func(s *sibling){
			func(s *sibling) { s.Position = map[string]string{"left": "right", "right": "left"}[s.Position] },
			func(s *sibling) { s.Hash = strings.Repeat("0", 64) },
		} {
			p := slices.Clone(proof)
			change(&p[k])
			tampered = append(tampered, p)
		}
		tampered = append(tampered, slices.Delete(slices.Clone(proof), k, k+1))
	}
	if len(proof) > 1 && proof[0] != proof[1] {
		p := slices.Clone(proof)
		p[0], p[1] = p[1], p[0]
		tampered = append(tampered, p)
	}
	for _, p := range tampered {
		if err := prove(h, path, asJSON(t, p), nil, tool); err == nil {
			t.Errorf("step %d is proved by %v", i, p)
		}
	}
	if err := prove(h, path, asJSON(t, proof), digestOf("another"), tool); !reason(err, intent.ProofMismatch) {
		t.Errorf("another digest: %v", err)
	}
	if err := prove(h, path, asJSON(t, proof), nil, "another"); !reason(err, intent.ProofMismatch) {
		t.Errorf("another tool: %v", err)
	}
}

func TestAProofThatIsNotOneIsMalformed(t *testing.T) {
	h := held(t, "a", "b")
	good := proofOf(h, 0)[0]
	for _, proof := range []string{
		`{}`, `"x"`, `5`, `[5]`, `[[]]`, `[{}]`, `[{"position":"left"}]`, `[{"sibling_hash":"` + good.Hash + `"}]`, `[{"position":"Left","sibling_hash":"` + good.Hash + `"}]`,
		`[{"position":"right","sibling_hash":"` + strings.ToUpper(good.Hash) + `"}]`, `[{"position":"right","sibling_hash":"` + good.Hash[:62] + `"}]`, `[{"position":"right","sibling_hash":"` + good.Hash + `","position":"left"}]`,
		`[` + strings.TrimSuffix(strings.Repeat(`{"position":"right","sibling_hash":"`+good.Hash+`"},`, 33), ",") + `]`, `[`, `[]x`, "[\xff]",
	} {
		if _, err := stepProof("/steps/[0]/action", []byte(proof), nil, "a", canon.DefaultLimits()); !isRefused(err, "") {
			t.Errorf("%.80s: %v", proof, err)
		}
	}
}

// TestASubtreeConfinesTheCallToItsStep.
func TestASubtreeConfinesTheCallToItsStep(t *testing.T) {
	h := held(t, "a", "b", "c")
	head := func(i int) *proxy.CSRG {
		return &proxy.CSRG{
			SubtreePath: fmt.Appendf(nil, "/steps/[%d]", i), SubtreeRoot: []byte(h.LeafHash(i).String()), ParentRoot: []byte(h.Hash().String()),
			Subtrees: []byte(base64.StdEncoding.EncodeToString(asJSON(t, proofOf(h, i)))),
		}
	}
	try := func(c *proxy.CSRG) (at int, err error) {
		r := &request{Dialect: &Dialect{JSON: canon.DefaultLimits()}, c: &pipeline.Call{}}
		check, err := r.subtreeProof(c)
		if err != nil {
			return 0, err
		}
		return r.c.Shown.At, check(h)
	}
	for i := range 3 {
		if at, err := try(head(i)); err != nil || at != i+1 {
			t.Errorf("step %d: at %d, %v", i, at, err)
		}
		c := head(i)
		c.ParentRoot = []byte(h.Root().String())
		if _, err := try(c); err != nil {
			t.Errorf("step %d under the root: %v", i, err)
		}
	}
	for name, change := range map[string]func(c *proxy.CSRG){
		"another step":      func(c *proxy.CSRG) { c.SubtreePath = []byte("/steps/[1]") },
		"no such step":      func(c *proxy.CSRG) { c.SubtreePath = []byte("/steps/[3]") },
		"all steps":         func(c *proxy.CSRG) { c.SubtreePath = []byte("/steps") },
		"another root":      func(c *proxy.CSRG) { c.SubtreeRoot = []byte(h.LeafHash(1).String()) },
		"no root":           func(c *proxy.CSRG) { c.SubtreeRoot = nil },
		"another plan":      func(c *proxy.CSRG) { c.ParentRoot = []byte(strings.Repeat("0", 64)) },
		"no proof":          func(c *proxy.CSRG) { c.Subtrees = nil },
		"another's proof":   func(c *proxy.CSRG) { c.Subtrees = head(1).Subtrees },
		"proof not base64":  func(c *proxy.CSRG) { c.Subtrees = []byte("[]") },
		"proof of an array": func(c *proxy.CSRG) { c.Subtrees = []byte(base64.StdEncoding.EncodeToString([]byte(`[[]]`))) },
	} {
		c := head(0)
		change(c)
		if _, err := try(c); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

// TestProofHeadersComeTogether: a proof or a digest without a path would be held against nothing.
func TestProofHeadersComeTogether(t *testing.T) {
	for name, head := range map[string]proxy.CSRG{"proof": {Proof: []byte("[]")}, "digest": {Digest: digestOf("a")}} {
		r := &request{Dialect: &Dialect{JSON: canon.DefaultLimits()}, c: &pipeline.Call{}, x: &proxy.Exchange{Head: proxy.Head{CSRG: head}}}
		var d *pipeline.Denial
		if err := r.proof("a"); !errors.As(err, &d) || d.Code != pipeline.HeaderMismatch {
			t.Errorf("%s alone: %v", name, err)
		}
	}
	h := held(t, "a", "b")
	r := &request{Dialect: &Dialect{JSON: canon.DefaultLimits()}, c: &pipeline.Call{}, x: &proxy.Exchange{Head: proxy.Head{CSRG: proxy.CSRG{
		Path: []byte("/steps/[0]/action"), Proof: asJSON(t, proofOf(h, 0)), SubtreePath: []byte("/steps/[1]"), SubtreeRoot: []byte(h.LeafHash(1).String()),
		Subtrees: []byte(base64.StdEncoding.EncodeToString(asJSON(t, proofOf(h, 0)))),
	}}}}
	if err := r.proof("a"); err != nil {
		t.Fatal(err)
	}
	if r.c.Shown.Prove(h) == nil {
		t.Error("a good path hides a bad subtree")
	}
}
