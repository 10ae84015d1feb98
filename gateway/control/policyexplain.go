package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
)

type explainIn struct {
	Body struct {
		Record string     `json:"record" pattern:"^([0-9]{1,16}|rec_[0-9a-hjkmnp-tv-z]{26})$" doc:"index of a call's record, or its id"`
		Bundle *bundleRef `json:"bundle,omitempty" doc:"of which to explain; absent: what is in force"`
	}
}

// explained is why a recorded call is allowed or denied.
type explained struct {
	Record      string          `json:"record" doc:"the record that holds the question"`
	Recorded    string          `json:"recorded,omitempty" enum:"allow,deny,hold" doc:"what was answered then; absent when policy did not have the last word"`
	Refused     string          `json:"refused,omitempty" doc:"the code that the call was refused with, by policy or, as with rate_limited, by what came after it"`
	Now         string          `json:"now" enum:"allow,deny,hold" doc:"what this bundle answers"`
	Bundle      string          `json:"bundle" doc:"its digest"`
	Same        bool            `json:"same_bundle" doc:"the record was decided under this very bundle"`
	Approximate string          `json:"approximate,omitempty" doc:"what the record does not keep"`
	Target      string          `json:"target" doc:"what was called"`
	By          []string        `json:"by" nullable:"false" doc:"the policies that determine the answer"`
	Errors      []string        `json:"errors,omitempty"`
	Shadowed    []string        `json:"shadowed,omitempty" doc:"policies in shadow that apply"`
	Policies    []explainedRule `json:"policies" nullable:"false" doc:"whose scopes fit"`
	Nearest     []string        `json:"nearest,omitempty" doc:"the permits that missed by the fewest conditions"`
}

type explainedRule struct {
	Policy     string               `json:"policy"`
	Effect     string               `json:"effect" enum:"permit,forbid,hold"`
	Value      string               `json:"value" enum:"holds,fails,error,unknown"`
	Reason     string               `json:"reason,omitempty" doc:"its @reason"`
	Conditions []explainedCondition `json:"conditions" nullable:"false"`
}

type explainedCondition struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Unless  bool   `json:"unless,omitempty"`
	Text    string `json:"text"`
	Value   string `json:"value" enum:"holds,fails,error,unknown"`
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"`
}

type explainOut struct{ Body explained }

// explainRecord puts the question of a record to a bundle, and says what each policy makes of it.
func (a *API) explainRecord(ctx context.Context, c *call, in *explainIn) (*explainOut, error) {
	c.target = in.Body.Record
	e, err := a.engineOf(ctx, c, in.Body.Bundle)
	if err != nil {
		return nil, err
	}
	r, err := a.questionOf(ctx, c.caller.Tenant(), in.Body.Record)
	if err != nil {
		return nil, err
	}
	out := &explainOut{Body: explained{Record: r.Record, Recorded: r.Verdict, Refused: r.Code, Bundle: e.Digest().String(), Same: r.Bundle == e.Digest().String(), Target: r.Target()}}
	if r.Narrowed {
		out.Body.Approximate = "the terms that narrowed the bundle are left out"
	}
	if r.Principal == nil {
		if r.Principal = a.resolve(ctx, c.caller.Tenant(), &r); r.Principal == nil {
			return nil, unreplayable(compare.LostPrincipal)
		}
		out.Body.Approximate = "who called is as the directory knows them now"
	}
	ask := r.Ask()
	x, err := e.Explain(&ask)
	if err != nil {
		return nil, fmt.Errorf("explain a record: %w", err)
	}
	shapeExplanation(&out.Body, &x)
	return out, nil
}

// questionOf reads the question of a call from its record, or from the record that it settles.
func (a *API) questionOf(ctx context.Context, tenant, name string) (compare.RecordedAsk, error) {
	for range 2 {
		entry, err := a.lookUp(ctx, tenant, name)
		if err != nil {
			return compare.RecordedAsk{}, err
		}
		r, err := entry.Record()
		if err != nil {
			return compare.RecordedAsk{}, fmt.Errorf("read record: %w", err)
		}
		if r.Of != "" && len(r.Side) == 0 {
			name = r.Of
			continue
		}
		ask, err := a.opening(ctx, tenant).question(&r, new(compare.Parser))
		if lost, ok := errors.AsType[compare.Lost](err); ok {
			return ask, unreplayable(lost)
		}
		return ask, err
	}
	return compare.RecordedAsk{}, unreplayable(compare.LostUnsealed)
}

func unreplayable(why compare.Lost) *problem {
	return refuse(http.StatusUnprocessableEntity, "request_invalid", "the record cannot be explained: "+string(why), "name the record of a call that policy has answered")
}

func shapeExplanation(out *explained, x *policies.Explanation) {
	d := &x.Decision
	switch {
	case d.Allowed():
		out.Now = compare.Allow
	case d.Held():
		out.Now = compare.Hold
	default:
		out.Now = compare.Deny
	}
	out.By, out.Errors, out.Shadowed, out.Nearest = append([]string{}, d.Policies()...), d.Errors(), d.Shadowed(), x.Nearest
	out.Policies = []explainedRule{}
	for i := range x.Reasons {
		p := &x.Reasons[i]
		rule := explainedRule{Policy: p.Policy, Effect: "permit", Value: p.Value.String(), Reason: p.Annotations["reason"], Conditions: []explainedCondition{}}
		if p.Forbid {
			rule.Effect = "forbid"
		}
		if p.Hold {
			rule.Effect = "hold"
		}
		for _, j := range p.Conditions {
			rule.Conditions = append(rule.Conditions, explainedCondition{j.Line, j.Column, j.Unless, j.Text, j.Value.String(), j.Reached, j.Error})
		}
		out.Policies = append(out.Policies, rule)
	}
}
