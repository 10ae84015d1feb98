package control

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/policies/manifest"
)

// filterMoves is what a revision changes of the filters in force.
type filterMoves struct {
	Filters   []filterMove `json:"filters,omitempty" doc:"what it changes of the filters in force and tried: of a push, once it is enforced"`
	Reordered bool         `json:"reordered,omitempty" doc:"calls pass the filters in another order"`
}

// filterMove is what becomes of one.
type filterMove struct {
	Name   string       `json:"name"`
	Mode   string       `json:"mode" enum:"enforce,shadow"`
	Before *movedFilter `json:"before,omitempty" doc:"absent: it was not in force (or tried)"`
	After  *movedFilter `json:"after,omitempty" doc:"absent: it is not any more; the version of before: config, or where it looks, is another"`
}

type movedFilter struct {
	Version uint64 `json:"version,omitempty" doc:"absent: deleted since"`
	Digest  string `json:"digest"`
}

// filterMoves puts numbers to the versions that moves name by their digests. What cannot be looked up stays without one.
func (a *API) filterMoves(ctx context.Context, tenant string, moves []manifest.Move, reordered bool) filterMoves {
	out := filterMoves{Reordered: reordered}
	for _, m := range moves {
		known, _ := a.deps.Filters.Filter(ctx, tenant, m.Name) // none when its last version was deleted
		side := func(f *manifest.Filter) *movedFilter {
			if f == nil {
				return nil
			}
			return &movedFilter{Version: numberOf(&known, f.Digest), Digest: f.Digest}
		}
		out.Filters = append(out.Filters, filterMove{m.Name, m.Mode, side(m.Before), side(m.After)})
	}
	return out
}

// numberOf finds a version by its digest, 0 of none.
func numberOf(f *filters.Filter, digest string) uint64 {
	for i := range f.Versions {
		if v := &f.Versions[i]; filters.DigestText(v.Digest) == digest {
			return v.Number
		}
	}
	return 0
}

// filterDeleted is a version that is no more.
type filterDeleted struct {
	Name      string   `json:"name"`
	Version   uint64   `json:"version"`
	Deleted   bool     `json:"deleted"`
	Digest    string   `json:"digest" doc:"SHA-256 of the module, as manifests have it"`
	Revisions []uint64 `json:"revisions,omitempty" doc:"of the policies that name it: none of them can be put in force, or rolled back to, until the same bytes are uploaded under this name"`
	Warnings  []string `json:"warnings,omitempty" doc:"the same, for people"`
}

type filterDeletedOut struct{ Body filterDeleted }

// deleteFilter deletes a version, and says what cannot be put in force without it. That is looked up before: afterwards nobody knows
// its digest.
func (a *API) deleteFilter(ctx context.Context, c *call, in *filterVersionPath) (*filterDeletedOut, error) {
	tenant, out := c.caller.Tenant(), &filterDeletedOut{Body: filterDeleted{Name: in.Name, Version: in.Number, Deleted: true}}
	f, err := a.deps.Filters.Filter(ctx, tenant, in.Name)
	if err != nil {
		return nil, filterFault(err)
	}
	for i := range f.Versions {
		if v := &f.Versions[i]; v.Number == in.Number {
			out.Body.Digest = filters.DigestText(v.Digest)
		}
	}
	if out.Body.Digest != "" {
		if out.Body.Revisions, err = a.deps.Revisions.Naming(ctx, tenant, in.Name, out.Body.Digest); err != nil {
			return nil, err
		}
	}
	if err := a.deps.Filters.Delete(ctx, tenant, filters.Actor(actor(c)), in.Name, in.Number); err != nil {
		return nil, filterFault(err)
	}
	c.note("digest", out.Body.Digest)
	if len(out.Body.Revisions) > 0 {
		out.Body.Warnings = []string{stranded(&out.Body)}
	}
	return out, nil
}

// stranded says which revisions a deletion keeps out of force.
func stranded(d *filterDeleted) string {
	const few = 20
	var list []string
	for i, n := range d.Revisions {
		if i == few {
			list = append(list, fmt.Sprintf("and %d more", len(d.Revisions)-few))
			break
		}
		list = append(list, strconv.FormatUint(n, 10))
	}
	what, that := "revision", "it names"
	if len(d.Revisions) > 1 {
		what, that = "revisions", "they name"
	}
	return fmt.Sprintf("%s %s of the policies cannot be put in force or rolled back to any more: %s this version (upload the same bytes as %s again, %s, and that is mended)", what, strings.Join(list, ", "), that, d.Name, d.Digest)
}
