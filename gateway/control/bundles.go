package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/policies"
)

// Bundles is what the gateway enforces, per tenant. Reload loads a tenant's bundle from where it lies and puts it in
// force as a whole, in the name of who asked; on error the one before stays and is what Current returns.
type Bundles interface {
	Current(tenant string) (*policies.Bundle, bool)
	Reload(ctx context.Context, tenant string, by bundles.Actor) (*policies.Bundle, error)
}

// Revisions is what this port needs of the revisions of policies. What it returned without an error is durable and in
// force.
type Revisions interface {
	History
	Push(ctx context.Context, tenant string, by bundles.Actor, files map[string][]byte) (bundles.Revision, error)
	Activate(ctx context.Context, tenant string, by bundles.Actor, number uint64, m policies.Mode) (bundles.Revision, error)
	// RollbackTo goes back to a revision that was enforced before, or by one step for 0.
	RollbackTo(ctx context.Context, tenant string, by bundles.Actor, number uint64) (bundles.Revision, error)
}

// History is what the revisions of policies are, and why the organisation does not have those it is meant to have.
type History interface {
	History(tenant string) []bundles.Revision
	Revision(tenant string, number uint64) (bundles.Revision, error)
	Bundle(ctx context.Context, tenant string, number uint64) (*policies.Bundle, error)
	Alarm(tenant string) string
	// Naming lists the revisions that name a filter by this digest.
	Naming(ctx context.Context, tenant, name, digest string) ([]uint64, error)
}

var _ Revisions = (*bundles.Service)(nil)

// bundle is what is in force, by name and digest; its content is the policy authors' and stays where it lies.
type bundle struct {
	Digest string   `json:"digest" doc:"SHA-256 that stands in every record decided under it, hex"`
	Files  []string `json:"files" nullable:"false"`
	Alarm  string   `json:"alarm,omitempty" doc:"why the organisation does not have the policies it is meant to have"`
}

type bundleOut struct{ Body bundle }

// revision is a bundle in the organisation's history.
type revision struct {
	Number   uint64    `json:"number" doc:"from 1"`
	State    string    `json:"state" enum:"enforced,shadow,canary,idle"`
	Percent  int       `json:"percent,omitempty" doc:"of a canary: the share of principals for whom it is enforced"`
	Digest   string    `json:"digest" doc:"SHA-256 that stands in every record decided under it, hex"`
	Name     string    `json:"name,omitempty" doc:"as its manifest has it"`
	Version  uint64    `json:"version,omitempty" doc:"as its manifest has it"`
	Files    int       `json:"files"`
	Bytes    int       `json:"bytes"`
	Source   string    `json:"source" enum:"built-in,folder,git,api,unknown"`
	Commit   string    `json:"commit,omitempty"`
	SignedBy string    `json:"signed_by,omitempty" doc:"name of the key, when a signature is asked for"`
	By       string    `json:"by,omitempty" doc:"the user who pushed it; absent for what a source brought"`
	Created  time.Time `json:"created"`
	Problem  string    `json:"problem,omitempty" doc:"why it cannot be read any more"`
	filterMoves
	Warnings []string `json:"warnings,omitempty" doc:"for people, of a push: why it cannot be enforced as things are"`
}

type revisionOut struct{ Body revision }

type shownRevisionOut struct {
	Body struct {
		revision
		Names   []string          `json:"names" nullable:"false" doc:"of its files"`
		Content map[string]string `json:"content,omitempty" doc:"its files, unless they are larger than 1 MiB together or no text"`
	}
}

// maxShown bounds the files that are shown with a revision, in bytes.
const maxShown = 1 << 20

type revisionPath struct {
	Number uint64 `path:"number" minimum:"1" maximum:"9007199254740991"`
}

type listRevisionsIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
}

type pushIn struct {
	Body struct {
		Files map[string]string `json:"files" doc:"the bundle: text by name, as in a folder; bundle.sig holds the signature if one is asked for"`
	}
}

type activateIn struct {
	Number uint64 `path:"number" minimum:"1" maximum:"9007199254740991"`
	Body   struct {
		Mode    string `json:"mode" enum:"enforce,shadow,canary" doc:"shadow asks it beside the enforced one and counts what would differ; canary enforces it for a share of the principals"`
		Percent int    `json:"percent,omitempty" minimum:"1" maximum:"99" doc:"of a canary"`
	}
}

type rollbackIn struct {
	Body *struct {
		To uint64 `json:"to,omitempty" minimum:"1" maximum:"9007199254740991" doc:"a revision that was enforced before, over those between; absent: end what is tried, or go one back"`
	}
}

func (m *mounting) bundles() {
	deps := m.api.deps
	handle(m, "current-bundle", func(_ context.Context, c *call, _ *none) (*bundleOut, error) {
		b, ok := deps.Bundles.Current(c.caller.Tenant())
		alarm := alarmFor(c.caller.Role(), deps.Revisions.Alarm(c.caller.Tenant()))
		if !ok {
			return nil, refuse(http.StatusNotFound, "not_found", "no policies are in force in this organisation, so everything is refused", alarm)
		}
		out := shapeBundle(b)
		out.Body.Alarm = alarm
		return out, nil
	})
	handle(m, "reload-bundle", func(ctx context.Context, c *call, _ *none) (*bundleOut, error) {
		b, err := deps.Bundles.Reload(ctx, c.caller.Tenant(), actor(c))
		if err != nil {
			m.api.log.Warn("bundle refused", "record", c.id, "tenant", c.caller.Tenant(), "error", err)
			return nil, refuse(422, "bundle_refused", clip(err.Error(), 1000), "the bundle before stays in force")
		}
		c.note("digest", b.Digest().String())
		return shapeBundle(b), nil
	})
	handle(m, "list-revisions", m.api.listRevisions)
	handle(m, "get-revision", m.api.getRevision)
	handle(m, "push-revision", m.api.pushRevision)
	handle(m, "activate-revision", m.api.activateRevision)
	handle(m, "rollback-policies", func(ctx context.Context, c *call, in *rollbackIn) (*revisionOut, error) {
		var to uint64
		if in.Body != nil {
			to = in.Body.To
		}
		r, err := deps.Revisions.RollbackTo(ctx, c.caller.Tenant(), actor(c), to)
		return m.api.changed(ctx, c, r, err)
	})
}

// alarmFor is what a role is told: the text can name the operator's folders and repositories, and so only admins read it.
func alarmFor(role identity.Role, text string) string {
	if text == "" || role == identity.RoleAdmin {
		return clip(text, 1000)
	}
	return "the organisation does not have the policies it is meant to have"
}

func actor(c *call) bundles.Actor {
	return bundles.Actor{User: c.caller.User(), Key: c.caller.KeyID()}
}

// listRevisions lists the newest first.
func (a *API) listRevisions(_ context.Context, c *call, in *listRevisionsIn) (*paged[revision], error) {
	all := a.deps.Revisions.History(c.caller.Tenant())
	fetch := func(after string, n int) []bundles.Revision {
		rest := all
		if last, err := strconv.ParseUint(after, 10, 64); err == nil {
			for len(rest) > 0 && rest[0].Number >= last {
				rest = rest[1:]
			}
		}
		return rest[:min(n, len(rest))]
	}
	return window(c, listing{in.Limit, in.Cursor}, fetch, func(r *bundles.Revision) string { return strconv.FormatUint(r.Number, 10) }, shapeRevision)
}

func (a *API) getRevision(ctx context.Context, c *call, in *revisionPath) (*shownRevisionOut, error) {
	tenant, out := c.caller.Tenant(), &shownRevisionOut{}
	r, err := a.deps.Revisions.Revision(tenant, in.Number)
	if err != nil {
		return nil, revisionFault(err)
	}
	out.Body.revision, out.Body.Names = shapeRevision(&r), []string{}
	b, err := a.deps.Revisions.Bundle(ctx, tenant, in.Number)
	if errors.Is(err, bundles.ErrDamaged) {
		out.Body.Problem = clip(err.Error(), 300)
		return out, nil
	}
	if err != nil {
		return nil, revisionFault(err)
	}
	out.Body.Names, out.Body.Content = b.Files(), content(b)
	return out, nil
}

// content is a bundle's files as text, nil when they are too much or no text.
func content(b *policies.Bundle) map[string]string {
	out, size := map[string]string{}, 0
	for _, name := range b.Files() {
		data, _ := b.File(name)
		if size += len(data); size > maxShown || !utf8.Valid(data) {
			return nil
		}
		out[name] = string(data)
	}
	return out
}

func (a *API) pushRevision(ctx context.Context, c *call, in *pushIn) (*revisionOut, error) {
	files := make(map[string][]byte, len(in.Body.Files))
	for name, text := range in.Body.Files {
		files[name] = []byte(text)
	}
	done, err := a.compile.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := a.deps.Revisions.Push(ctx, c.caller.Tenant(), actor(c), files)
	return a.changed(ctx, c, r, err)
}

func (a *API) activateRevision(ctx context.Context, c *call, in *activateIn) (*revisionOut, error) {
	var m policies.Mode
	switch in.Body.Mode {
	case "shadow":
		m.Shadow = true
	case "canary":
		m.Canary = in.Body.Percent
	}
	if (in.Body.Mode == "canary") != (in.Body.Percent != 0) {
		return nil, refuse(http.StatusUnprocessableEntity, "request_invalid", "percent belongs to a canary, and a canary needs it", `send {"mode": "canary", "percent": 10}`)
	}
	c.note("mode", in.Body.Mode)
	r, err := a.deps.Revisions.Activate(ctx, c.caller.Tenant(), actor(c), in.Number, m)
	return a.changed(ctx, c, r, err)
}

// changed answers a change and says in the call's record which revision it was about.
func (a *API) changed(ctx context.Context, c *call, r bundles.Revision, err error) (*revisionOut, error) {
	if err != nil {
		a.log.Warn("policies not changed", "record", c.id, "tenant", c.caller.Tenant(), "error", err)
		return nil, revisionFault(err)
	}
	c.note("revision", strconv.FormatUint(r.Number, 10))
	c.note("digest", r.Digest.String())
	out := &revisionOut{Body: shapeRevision(&r)}
	out.Body.filterMoves = a.filterMoves(ctx, c.caller.Tenant(), r.Moves, r.Reordered)
	if r.Warning != "" {
		out.Body.Warnings = []string{clip(r.Warning, 1000)}
	}
	return out, nil
}

// revisionFault says what callers may know: a policy author needs the place of a mistake in full.
func revisionFault(err error) error {
	const stays = "nothing changed: what was in force stays"
	switch {
	case errors.Is(err, bundles.ErrNotFound):
		return refuse(http.StatusNotFound, "not_found", "there is no such revision in this organisation", "GET /api/v1/policies/revisions lists them")
	case errors.Is(err, bundles.ErrRefused), errors.Is(err, bundles.ErrUnsigned), errors.Is(err, bundles.ErrOld):
		return refuse(http.StatusUnprocessableEntity, "bundle_refused", clip(err.Error(), 1000), stays)
	case errors.Is(err, bundles.ErrState), errors.Is(err, bundles.ErrDamaged):
		return refuse(http.StatusConflict, "conflict", clip(err.Error(), 1000), stays)
	}
	return err
}

func shapeRevision(r *bundles.Revision) revision {
	out := revision{
		Number: r.Number, State: r.State, Percent: r.Percent, Digest: r.Digest.String(), Name: r.Name, Version: r.Version, Files: r.Files, Bytes: r.Bytes,
		Source: r.Source.Kind, Commit: r.Source.Commit, SignedBy: r.SignedBy, By: r.By.User, Created: r.Time, Problem: clip(r.Problem, 300),
	}
	if out.Source == "" {
		out.Source = "unknown"
	}
	return out
}

func shapeBundle(b *policies.Bundle) *bundleOut {
	files := b.Files()
	if files == nil {
		files = []string{}
	}
	return &bundleOut{Body: bundle{Digest: b.Digest().String(), Files: files}}
}

// noRevisions stands in for a gateway that keeps none.
type noRevisions struct{}

var errNoRevisions = fmt.Errorf("this gateway keeps no revisions: %w", bundles.ErrState)

func (noRevisions) History(string) []bundles.Revision { return nil }
func (noRevisions) Revision(string, uint64) (bundles.Revision, error) {
	return bundles.Revision{}, bundles.ErrNotFound
}

func (noRevisions) Bundle(context.Context, string, uint64) (*policies.Bundle, error) {
	return nil, bundles.ErrNotFound
}

func (noRevisions) Push(context.Context, string, bundles.Actor, map[string][]byte) (bundles.Revision, error) {
	return bundles.Revision{}, errNoRevisions
}

func (noRevisions) Activate(context.Context, string, bundles.Actor, uint64, policies.Mode) (bundles.Revision, error) {
	return bundles.Revision{}, bundles.ErrNotFound
}

func (noRevisions) RollbackTo(context.Context, string, bundles.Actor, uint64) (bundles.Revision, error) {
	return bundles.Revision{}, errNoRevisions
}

func (noRevisions) Naming(context.Context, string, string, string) ([]uint64, error) { return nil, nil }
func (noRevisions) Alarm(string) string                                              { return "" }
