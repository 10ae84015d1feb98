package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// judge reads what the ledger says since the last time and compares it with everything that was promised since. Nobody
// else uses the gateway meanwhile. An error means that it could not be judged.
func (w *world) judge(ctx context.Context, s *session, notes []note) error {
	for _, tenant := range []string{demo, other} {
		var cp struct{ Note string }
		if _, err := s.manage(ctx, s.keys[tenant], "GET", "/api/v1/ledger/checkpoint", nil, &cp); err != nil {
			return err
		}
		notes = append(notes, note{tenant, "the control port's answer", []byte(cp.Note)})
		if err := w.readOn(ctx, s, tenant); err != nil {
			return err
		}
	}
	for _, n := range notes {
		w.check.checkpoint(n.tenant, n.where, n.text)
	}
	w.check.remember()
	w.check.settled()
	promises := w.j.take()
	for _, p := range promises {
		w.check.kept(p)
	}
	for _, e := range w.tools.since(w.judged) {
		w.judged++
		if st := w.j.step(e.n); st != nil {
			w.check.happened(effect{spend: st.spend, uses: st.uses, n: e.n, at: e.at})
		} else {
			w.check.happened(effect{n: -1, at: e.at})
		}
	}
	w.check.spent()
	if err := w.byID(ctx, s, promises); err != nil {
		return err
	}
	return w.standing(ctx, s)
}

// readOn reads a tenant's records from where it was left.
func (w *world) readOn(ctx context.Context, s *session, tenant string) error {
	for {
		var page struct {
			Size  uint64
			Items []struct {
				Index  uint64
				Leaf   string
				Record json.RawMessage
			}
			Next *uint64
		}
		from := w.check.size(tenant)
		if _, err := s.manage(ctx, s.keys[tenant], "GET", fmt.Sprintf("/api/v1/ledger/records?limit=1000&from=%d", from), nil, &page); err != nil {
			return err
		}
		if page.Size < from {
			w.check.violate(lost, "%s: %d records were there and %d are left", tenant, from, page.Size)
			return nil
		}
		for _, i := range page.Items {
			if err := w.check.record(tenant, i.Index, i.Leaf, i.Record); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
	}
}

// byID asks for some of the records by the id that the answer named, as a client would.
func (w *world) byID(ctx context.Context, s *session, promises []promise) error {
	for range min(5, len(promises)) {
		p := promises[w.rnd.IntN(len(promises))]
		var one struct{ Leaf string }
		_, err := s.manage(ctx, s.keys[p.tenant], "GET", "/api/v1/ledger/records/"+p.record, nil, &one)
		if errors.Is(err, errRefused) {
			w.check.violate(lost, "%s: record %s was acknowledged and is not found by its id: %v", p.tenant, p.record, err)
			continue
		}
		if err != nil {
			return err
		}
		if leaf := w.check.leaves[p.tenant+"/"+p.record]; one.Leaf != leaf.String() {
			w.check.violate(lost, "%s: record %s is shown with the leaf %s, it was %s", p.tenant, p.record, one.Leaf, leaf)
		}
	}
	return nil
}

// sample is how many older revocations and keys are tried again after each restart.
const sample = 5

// standing tries what was revoked since the last time and some of the rest, and keys that must work.
func (w *world) standing(ctx context.Context, s *session) error {
	all, keys := w.j.standing()
	due := slices.Clone(all[w.tested:])
	for range min(sample, w.tested) {
		due = append(due, all[w.rnd.IntN(w.tested)])
	}
	w.tested = len(all)
	for _, r := range due {
		t, err := try(ctx, s, r)
		if err != nil {
			return err
		}
		w.check.tried(t)
	}
	for range min(sample, len(keys)) {
		k := keys[w.rnd.IntN(len(keys))]
		a, err := s.list(ctx, k.secret)
		if err != nil {
			return err
		}
		if a.result == nil {
			w.check.violate(lost, "%s: the key %s was made and does not work: %s", k.tenant, k.id, a)
		}
	}
	return nil
}
