package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
	"github.com/gatewright/gatewright/policies/manifest"
)

// Policies is what changes of policy are judged with. Each function takes the caller's organisation; members that are nil
// leave out what needs them.
type Policies struct {
	Set       *policies.Set                                                                     // what is in force and what is staged
	Compile   func(tenant string, b *policies.Bundle) (*policies.Engine, error)                 // against the organisation's tools
	Revision  func(ctx context.Context, tenant string, number uint64) (*policies.Bundle, error) // of the history
	Tools     func(tenant string) []policies.ToolDef                                            // for made-up requests
	Principal func(ctx context.Context, tenant, agent, user string) (*policies.Principal, bool) // as the directory knows them now
	Flips     func(tenant string) stages.FlipStats                                              // what policies in shadow would have answered
}

// maxReplayed is how many records of decisions one comparison reads at most, and what it reads unless told.
const (
	maxReplayed     = 10_000_000
	defaultReplayed = 1_000_000
	maxGenerated    = 1_000_000
)

// bundleRef names a bundle: one of its members, or none for what is in force.
type bundleRef struct {
	Revision uint64            `json:"revision,omitempty" maximum:"9007199254740991" doc:"number of a revision"`
	Staged   bool              `json:"staged,omitempty" doc:"what is tried in shadow or for a share of the agents"`
	Files    map[string]string `json:"files,omitempty" doc:"a bundle that is not there yet: its files by name"`
}

// decisionFilter chooses records of decisions; all that is given must hold.
type decisionFilter struct {
	Since  *time.Time `json:"since,omitempty" doc:"records of this time and later"`
	Until  *time.Time `json:"until,omitempty" doc:"records before this time"`
	Agent  string     `json:"agent,omitempty" maxLength:"256"`
	User   string     `json:"user,omitempty" maxLength:"256"`
	Server string     `json:"server,omitempty" maxLength:"256"`
	Tool   string     `json:"tool,omitempty" maxLength:"320" doc:"name of a tool, or SERVER/TOOL"`
}

type diffIn struct {
	Body struct {
		Old       *bundleRef      `json:"old,omitempty" doc:"absent: what is in force"`
		New       *bundleRef      `json:"new,omitempty" doc:"absent: what is in force"`
		Filter    *decisionFilter `json:"filter,omitempty" doc:"which records"`
		Limit     int             `json:"limit,omitempty" minimum:"1" maximum:"10000000" doc:"how many records of decisions at most, newest first; absent: 1000000"`
		Examples  int             `json:"examples,omitempty" minimum:"1" maximum:"100" doc:"of each group; absent: 5"`
		Generated int             `json:"generated,omitempty" minimum:"1" maximum:"1000000" doc:"compare so many made-up requests instead of records"`
		Seed      uint64          `json:"seed,omitempty" maximum:"9007199254740991" doc:"of the made-up requests"`
	}
}

// diffLine is one line of the answer. The last has the report; an answer without one broke off.
type diffLine struct {
	Read   *uint64         `json:"read,omitempty"`
	Of     uint64          `json:"of,omitempty"`  // how many there are to read; 0 when nobody knows
	Old    string          `json:"old,omitempty"` // digests
	New    string          `json:"new,omitempty"`
	Report *compare.Report `json:"report,omitempty"`
	filterMoves
}

func (m *mounting) policies() {
	handle(m, "diff-policies", func(ctx context.Context, c *call, in *diffIn) (*none, error) {
		return &none{}, c.flow(func() (*flow, error) { return m.api.diff(ctx, c, in) })
	})
	handle(m, "explain-record", m.api.explainRecord)
	handle(m, "policy-shadow", m.api.policyShadow)
}

// noPolicies refuses where the gateway was built without the parts.
func (p *Policies) missing() error {
	if p.Set == nil || p.Compile == nil {
		return refuse(http.StatusUnprocessableEntity, "request_invalid", "this gateway does not compare policies", "ask its operator")
	}
	return nil
}

// diff gets a comparison ready. Its answer is lines of JSON: what was read so far, and at last the report.
func (a *API) diff(ctx context.Context, c *call, in *diffIn) (*flow, error) {
	b, tenant := &in.Body, c.caller.Tenant()
	old, was, err := a.bundleAndEngine(ctx, c, b.Old)
	if err != nil {
		return nil, err
	}
	next, is, err := a.bundleAndEngine(ctx, c, b.New)
	if err != nil {
		return nil, err
	}
	c.note("old", old.Digest().String())
	c.note("new", next.Digest().String())
	f := b.Filter
	if f == nil {
		f = &decisionFilter{}
	}
	if err := splitTool(&f.Server, &f.Tool); err != nil {
		return nil, err
	}
	o := compare.Options{Examples: b.Examples, Resolve: func(r *compare.RecordedAsk) *policies.Principal { return a.resolve(ctx, tenant, r) }}
	moves, reordered := manifest.Moves(was, is)
	job := comparison{old: old, next: next, moves: a.filterMoves(ctx, tenant, moves, reordered), options: o, of: func(ctx context.Context) uint64 { return a.countDecisions(ctx, tenant, f, b.Limit) }}
	job.run = func(ctx context.Context, o compare.Options) (*compare.Report, error) {
		return compare.Diff(ctx, old, next, a.decisions(ctx, tenant, f, b.Limit), o)
	}
	if b.Generated > 0 {
		job.of = func(context.Context) uint64 { return uint64(b.Generated) } //nolint:gosec // positive
		job.run = func(ctx context.Context, o compare.Options) (*compare.Report, error) {
			var tools []policies.ToolDef
			if a.deps.Policies.Tools != nil {
				tools = a.deps.Policies.Tools(tenant)
			}
			return compare.Generate(ctx, old, next, compare.Requests{N: b.Generated, Seed: b.Seed, Tenant: tenant, Tools: tools}, o)
		}
	}
	out := &flow{media: "application/jsonl", name: "gatewright-policy-diff.jsonl"}
	out.write = func(ctx context.Context, w io.Writer, commit func(digest [32]byte) error) error {
		return job.write(ctx, w, commit)
	}
	return out, nil
}

// comparison is one that is ready to run.
type comparison struct {
	old, next *policies.Engine
	moves     filterMoves // what next changes of old's filters
	options   compare.Options
	of        func(ctx context.Context) uint64 // how much there is to compare; 0 when nobody knows
	run       func(ctx context.Context, o compare.Options) (*compare.Report, error)
}

// write runs a comparison and sends its lines.
func (j *comparison) write(ctx context.Context, w io.Writer, commit func([32]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	o, of := j.options, j.of(ctx)
	o.Progress = func(read uint64) {
		if err := writeLine(w, diffLine{Read: &read, Of: of}); err != nil {
			cancel(err)
		}
	}
	report, err := j.run(ctx, o)
	if err != nil {
		return err
	}
	var last bytes.Buffer
	if err := writeLine(&last, diffLine{Old: j.old.Digest().String(), New: j.next.Digest().String(), Report: report, filterMoves: j.moves}); err != nil {
		return err
	}
	if err := commit(sum(last.Bytes())); err != nil {
		return err
	}
	_, err = w.Write(last.Bytes())
	return err
}

func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	if _, err = w.Write(append(b, '\n')); err != nil {
		return err
	}
	if f, ok := w.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

// engineOf finds or compiles the bundle that a request names.
func (a *API) engineOf(ctx context.Context, c *call, ref *bundleRef) (*policies.Engine, error) {
	e, _, err := a.bundleAndEngine(ctx, c, ref)
	return e, err
}

// bundleAndEngine is engineOf with what the bundle says of filters. What is tried says the same of them as what is in force.
func (a *API) bundleAndEngine(ctx context.Context, c *call, ref *bundleRef) (*policies.Engine, []manifest.Filter, error) {
	p, tenant := &a.deps.Policies, c.caller.Tenant()
	if err := p.missing(); err != nil {
		return nil, nil, err
	}
	if ref == nil {
		ref = &bundleRef{}
	}
	var enforced []manifest.Filter
	if b, ok := a.deps.Bundles.Current(tenant); ok {
		enforced = b.Manifest().Filters
	}
	switch named := bools(ref.Revision > 0, ref.Staged, len(ref.Files) > 0); {
	case named > 1:
		return nil, nil, refuse(http.StatusUnprocessableEntity, "request_invalid", "a bundle is named in two ways", "give a revision, or staged, or files; none of them means what is in force")
	case named == 0:
		if e := p.Set.For(tenant); e != nil {
			return e, enforced, nil
		}
		return nil, nil, refuse(http.StatusConflict, "not_yet", "no bundle is in force", "name a revision, or give the files of one")
	case ref.Staged:
		if e, _ := p.Set.Staged(tenant); e != nil {
			return e, enforced, nil
		}
		return nil, nil, refuse(http.StatusConflict, "not_yet", "no bundle is staged", "activate a revision in shadow or as a canary first, or name another")
	}
	b, err := a.bundleOf(ctx, tenant, ref)
	if err != nil {
		return nil, nil, err
	}
	done, err := a.compile.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	e, err := p.Compile(tenant, b)
	if err != nil {
		return nil, nil, refuse(http.StatusUnprocessableEntity, "bundle_refused", clip(err.Error(), 2000), "nothing was changed")
	}
	return e, b.Manifest().Filters, nil
}

func bools(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func (a *API) bundleOf(ctx context.Context, tenant string, ref *bundleRef) (*policies.Bundle, error) {
	if ref.Revision > 0 {
		if a.deps.Policies.Revision == nil {
			return nil, notFound()
		}
		b, err := a.deps.Policies.Revision(ctx, tenant, ref.Revision)
		if err != nil {
			a.log.Debug("revision not found", "tenant", tenant, "revision", ref.Revision, "error", err)
			return nil, notFound()
		}
		return b, nil
	}
	files := make(map[string][]byte, len(ref.Files))
	for name, text := range ref.Files {
		files[name] = []byte(text)
	}
	b, err := policies.NewBundle(files)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "bundle_refused", clip(err.Error(), 2000), "nothing was changed")
	}
	return b, nil
}

// resolve finds who asked as the directory knows them now: older records keep only a digest.
func (a *API) resolve(ctx context.Context, tenant string, r *compare.RecordedAsk) *policies.Principal {
	if a.deps.Policies.Principal == nil {
		return nil
	}
	if p, ok := a.deps.Policies.Principal(ctx, tenant, r.Agent, r.User); ok {
		return p
	}
	return nil
}
