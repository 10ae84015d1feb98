package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/stages"
)

// shadowView is what is tried beside the policies in force, and what it would have answered.
type shadowView struct {
	Staged   string        `json:"staged,omitempty" doc:"digest of the bundle that is staged"`
	Mode     string        `json:"mode,omitempty" enum:"shadow,canary"`
	Canary   int           `json:"canary,omitempty" doc:"percentage of the agents whose calls it decides"`
	Policies []string      `json:"policies" nullable:"false" doc:"policies in force with @mode(\"shadow\")"`
	Asked    uint64        `json:"asked" doc:"calls about which an engine in shadow was asked since the gateway started"`
	Passed   uint64        `json:"passed" doc:"calls about which it was not, because it took too long"`
	Failed   uint64        `json:"failed" doc:"calls in which asking it broke off"`
	Bundle   string        `json:"bundle,omitempty" doc:"digest of the bundle in shadow that was asked last"`
	Since    *time.Time    `json:"since,omitempty" doc:"its first call"`
	Compared uint64        `json:"compared" doc:"calls compared with it"`
	Current  []directed    `json:"current" nullable:"false" doc:"its flips"`
	Total    []directed    `json:"total" nullable:"false" doc:"all flips since the gateway started"`
	Latest   []flippedCall `json:"latest" nullable:"false" doc:"the latest flips, newest first"`
}

type directed struct {
	By    string `json:"by" enum:"engine,policy" doc:"a bundle in shadow, or single policies in it"`
	From  string `json:"from" enum:"allow,deny,hold"`
	To    string `json:"to" enum:"allow,deny,hold"`
	Count uint64 `json:"count"`
}

type flippedCall struct {
	By       string    `json:"by" enum:"engine,policy"`
	From     string    `json:"from" enum:"allow,deny,hold"`
	To       string    `json:"to" enum:"allow,deny,hold"`
	Record   string    `json:"record" doc:"id of the call's record"`
	Agent    string    `json:"agent"`
	User     string    `json:"user"`
	Op       string    `json:"op"`
	Server   string    `json:"server"`
	Tool     string    `json:"tool"`
	At       time.Time `json:"at"`
	Bundle   string    `json:"bundle" doc:"digest of the bundle that would have answered otherwise"`
	Policies []string  `json:"policies" nullable:"false" doc:"that would have determined it"`
	Errors   int       `json:"errors" doc:"how many policies could not be evaluated"`
}

type shadowOut struct{ Body shadowView }

func (a *API) policyShadow(_ context.Context, c *call, _ *none) (*shadowOut, error) {
	p, tenant := &a.deps.Policies, c.caller.Tenant()
	out := &shadowOut{shadowView{Policies: []string{}, Current: []directed{}, Total: []directed{}, Latest: []flippedCall{}}}
	v := &out.Body
	if p.Set != nil {
		v.Policies = append(v.Policies, p.Set.For(tenant).Shadows()...)
		if e, mode := p.Set.Staged(tenant); e != nil {
			v.Staged, v.Mode, v.Canary = e.Digest().String(), "canary", mode.Canary
			if mode.Shadow {
				v.Mode, v.Canary = "shadow", 0
			}
		}
	}
	if p.Flips != nil {
		v.count(p.Flips(tenant))
	}
	if v.Bundle != a.askedBeside(tenant, v) { // it was about what was tried before
		v.Bundle, v.Since, v.Compared, v.Current = "", nil, 0, []directed{}
	}
	return out, nil
}

// askedBeside is the digest of the bundle that is asked and does not decide: the staged one, in a canary the other for those
// for whom the staged one decides.
func (a *API) askedBeside(tenant string, v *shadowView) string {
	if v.Mode == "canary" {
		return a.deps.Policies.Set.For(tenant).Digest().String()
	}
	return v.Staged
}

func (v *shadowView) count(s stages.FlipStats) {
	v.Asked, v.Passed, v.Failed, v.Compared = s.Asked, s.Passed, s.Failed, s.Compared
	if s.Compared > 0 {
		v.Bundle, v.Since = s.Bundle.String(), &s.Since
	}
	v.Current, v.Total = shapeDirections(s.Current), shapeDirections(s.Total)
	for _, x := range s.Latest {
		v.Latest = append(v.Latest, flippedCall{
			By: x.By, From: x.From, To: x.To, Record: x.Record, Agent: x.Agent, User: x.User, Op: x.Op, Server: x.Server, Tool: x.Tool,
			At: x.At.UTC(), Bundle: x.Bundle.String(), Policies: append([]string{}, x.Policies...), Errors: len(x.Errors),
		})
	}
}

// shapeDirections lists the most frequent first.
func shapeDirections(m map[stages.Direction]uint64) []directed {
	out := []directed{}
	for way, n := range m {
		out = append(out, directed{way.By, way.From, way.To, n})
	}
	slices.SortFunc(out, func(a, b directed) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.By+a.From+a.To, b.By+b.From+b.To))
	})
	return out
}
