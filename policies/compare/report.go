package compare

import (
	"cmp"
	"slices"
	"strings"
)

// Bounds of a report: what does not fit is counted, not listed.
const (
	maxGroups = 500 // groups of flips
	maxNames  = 200 // tools or agents of one group
)

// Report is what a comparison found. Counts are of records or, after Generate, of made-up requests.
type Report struct {
	Read     uint64 `json:"read" doc:"records of decisions, or made-up requests, that were looked at"`
	Replayed uint64 `json:"replayed" doc:"of these, those that both bundles were asked"`
	Flips    uint64 `json:"flips" doc:"of these, those that they answer differently"`

	// Lost counts what was read and not replayed, by the reason.
	Lost map[string]uint64 `json:"lost" nullable:"false" doc:"what was read and could not be replayed, by reason"`
	// Approximate counts what was replayed of which the record does not keep everything, by what it lacks.
	Approximate map[string]uint64 `json:"approximate" nullable:"false" doc:"what was replayed although its record does not keep everything, by what it lacks"`

	Groups  []Group `json:"groups" nullable:"false" doc:"the flips by policy and direction, most frequent first"`
	Further uint64  `json:"further,omitempty" doc:"flips in groups that are not listed, there are too many"`

	// Unexplained are records whose own answer the old bundle does not give.
	Unexplained Unexplained `json:"unexplained"`

	Requests int    `json:"requests,omitempty" doc:"made-up requests"`
	Seed     uint64 `json:"seed,omitempty" doc:"that they were made from; the same seed makes the same"`
}

// Group is flips that one policy makes in one direction.
type Group struct {
	From     string    `json:"from" enum:"allow,deny,hold"`
	To       string    `json:"to" enum:"allow,deny,hold"`
	Policy   string    `json:"policy" doc:"the policy that makes the difference; empty when no policy permits, or when policies could not be evaluated"`
	Of       string    `json:"of" enum:"old,new" doc:"which bundle it is in"`
	Error    string    `json:"error,omitempty" doc:"why policies could not be evaluated"`
	Count    uint64    `json:"count"`
	Tools    []Count   `json:"tools" nullable:"false" doc:"what was called, most frequent first"`
	Agents   []Count   `json:"agents" nullable:"false" doc:"who called, most frequent first"`
	Examples []Example `json:"examples" nullable:"false" doc:"the first of them"`
}

// Count is how often a name stands in a group.
type Count struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Example is one record.
type Example struct {
	Record string `json:"record"`
	Agent  string `json:"agent,omitempty"`
	Target string `json:"target" doc:"what was called"`
	Args   string `json:"args,omitempty" doc:"of a made-up request; those of records stay sealed"`
	Ask    string `json:"ask,omitempty" doc:"what else a made-up request says"`

	at uint64
}

// Unexplained counts records that say something else than the old bundle does.
type Unexplained struct {
	Same     uint64    `json:"same" doc:"decided under the old bundle itself: the tools were others, or the record does not keep everything"`
	Other    uint64    `json:"other" doc:"decided under another bundle"`
	Examples []Example `json:"examples" nullable:"false"`
}

// Total is how many there are.
func (u *Unexplained) Total() uint64 { return u.Same + u.Other }

// tally is a report in the making: that of one worker, or of all.
type tally struct {
	Report
	examples int
	groups   map[groupKey]*gathered
	further  uint64
}

type groupKey struct{ from, to, policy, of, err string }

type gathered struct {
	count         uint64
	tools, agents map[string]uint64
	examples      []Example
}

func newTally(examples int) *tally {
	return &tally{
		Report:   Report{Lost: map[string]uint64{}, Approximate: map[string]uint64{}},
		examples: examples, groups: map[groupKey]*gathered{},
	}
}

// flip adds a flip to its group.
func (t *tally) flip(k groupKey, tool, agent string, x func() Example) {
	t.Flips++
	g := t.groups[k]
	if g == nil {
		if len(t.groups) >= maxGroups {
			t.further++
			return
		}
		g = &gathered{tools: map[string]uint64{}, agents: map[string]uint64{}}
		t.groups[k] = g
	}
	g.count++
	count(g.tools, tool, 1)
	count(g.agents, agent, 1)
	if len(g.examples) < t.examples {
		g.examples = append(g.examples, x())
	}
}

// others is the name under which a group counts what it does not list.
const others = "(others)"

func count(m map[string]uint64, name string, n uint64) {
	if _, known := m[name]; !known && len(m) >= maxNames {
		name = others
	}
	m[name] += n
}

// add joins another tally.
func (t *tally) add(o *tally) {
	t.Read, t.Replayed, t.Flips, t.further = t.Read+o.Read, t.Replayed+o.Replayed, t.Flips+o.Flips, t.further+o.further
	for why, n := range o.Lost {
		t.Lost[why] += n
	}
	for why, n := range o.Approximate {
		t.Approximate[why] += n
	}
	u := &t.Unexplained
	u.Same, u.Other, u.Examples = u.Same+o.Unexplained.Same, u.Other+o.Unexplained.Other, earliest(t.examples, u.Examples, o.Unexplained.Examples)
	for k, from := range o.groups {
		g := t.groups[k]
		if g == nil {
			t.groups[k] = from
			continue
		}
		g.count += from.count
		for name, n := range from.tools {
			count(g.tools, name, n)
		}
		for name, n := range from.agents {
			count(g.agents, name, n)
		}
		g.examples = earliest(t.examples, g.examples, from.examples)
	}
}

// earliest keeps the first n examples of both.
func earliest(n int, a, b []Example) []Example {
	all := append(slices.Clip(a), b...)
	slices.SortFunc(all, func(x, y Example) int { return cmp.Compare(x.at, y.at) })
	return all[:min(n, len(all))]
}

// report puts a tally into its order.
func (t *tally) report() *Report {
	r := t.Report
	r.Further, r.Groups = t.further, []Group{}
	for k, g := range t.groups {
		r.Groups = append(r.Groups, Group{
			From: k.from, To: k.to, Policy: k.policy, Of: k.of, Error: k.err, Count: g.count,
			Tools: counts(g.tools), Agents: counts(g.agents), Examples: g.examples,
		})
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Policy, b.Policy), strings.Compare(a.From+a.To+a.Of+a.Error, b.From+b.To+b.Of+b.Error))
	})
	for _, g := range r.Groups[min(maxGroups, len(r.Groups)):] {
		r.Further += g.Count
	}
	r.Groups = r.Groups[:min(maxGroups, len(r.Groups))]
	if r.Unexplained.Examples == nil {
		r.Unexplained.Examples = []Example{}
	}
	return &r
}

func counts(m map[string]uint64) []Count {
	out := []Count{}
	for name, n := range m {
		out = append(out, Count{name, n})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name)) })
	return out
}
