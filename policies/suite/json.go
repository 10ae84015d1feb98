package suite

import "github.com/gatewright/gatewright/policies"

// JSON is the report as programs read it.
type JSON struct {
	Cases    []CaseJSON    `json:"cases"`
	Failed   int           `json:"failed"`
	Covered  float64       `json:"covered_percent"`
	Missing  []MissingJSON `json:"missing"`
	TookUsec int64         `json:"took_us"`
}

// CaseJSON is one case.
type CaseJSON struct {
	File     string       `json:"file"`
	Line     int          `json:"line"`
	Name     string       `json:"name"`
	Want     string       `json:"want,omitempty"` // "" of a call that is no test
	Got      string       `json:"got"`
	By       []string     `json:"by"`
	Why      string       `json:"why,omitempty"` // of one that failed
	Errors   []string     `json:"errors,omitempty"`
	Policies []PolicyJSON `json:"policies"` // whose scopes fit
	Nearest  []string     `json:"nearest,omitempty"`
}

// PolicyJSON is what became of one policy.
type PolicyJSON struct {
	Policy     string          `json:"policy"`
	Effect     string          `json:"effect"`             // permit, forbid or hold
	Value      string          `json:"value"`              // holds, fails or error
	Approved   bool            `json:"approved,omitempty"` // a hold that applies, and that the approval has answered
	Shadow     bool            `json:"shadow,omitempty"`   // it decides nothing
	Line       int             `json:"line"`
	File       string          `json:"file"`
	ID         string          `json:"id"`
	Reason     string          `json:"reason,omitempty"` // of its @reason
	Conditions []ConditionJSON `json:"conditions"`
}

// ConditionJSON is what became of one condition.
type ConditionJSON struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Unless  bool   `json:"unless,omitempty"`
	Text    string `json:"text"`
	Value   string `json:"value"` // holds, fails, error or unknown
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"`
}

// MissingJSON is one thing that no case met.
type MissingJSON struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Policy string `json:"policy"`
	What   string `json:"what"`
}

// JSON shapes the report.
func (r *Report) JSON() JSON {
	out := JSON{Cases: []CaseJSON{}, Failed: r.Failed(), Covered: r.Coverage.Percent(), Missing: []MissingJSON{}, TookUsec: r.Took.Microseconds()}
	for i := range r.Results {
		out.Cases = append(out.Cases, r.Results[i].JSON())
	}
	for _, m := range r.Coverage.Missing() {
		out.Missing = append(out.Missing, MissingJSON(m))
	}
	return out
}

// JSON shapes one case.
func (r *Result) JSON() CaseJSON {
	c := CaseJSON{
		File: r.Case.File, Line: r.Case.Line, Name: r.Case.Name, Want: r.Case.Want, Got: r.Got, By: append([]string{}, r.By...),
		Errors: r.Errors, Policies: []PolicyJSON{}, Nearest: r.Explanation.Nearest,
	}
	if r.Why != nil {
		c.Why = r.Why.Error()
	}
	for i := range r.Explanation.Reasons {
		x := &r.Explanation.Reasons[i]
		p := PolicyJSON{Policy: x.Policy, Effect: effect(x), Value: x.Value.String(), Approved: x.Approved, Shadow: x.Shadow, Line: x.Line, File: x.File, ID: x.ID, Reason: x.Annotations["reason"], Conditions: []ConditionJSON{}}
		for _, j := range x.Conditions {
			p.Conditions = append(p.Conditions, ConditionJSON{j.Line, j.Column, j.Unless, j.Text, j.Value.String(), j.Reached, j.Error})
		}
		c.Policies = append(c.Policies, p)
	}
	return c
}

func effect(r *policies.Reason) string {
	switch {
	case r.Hold:
		return "hold"
	case r.Forbid:
		return "forbid"
	}
	return "permit"
}
