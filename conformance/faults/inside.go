package main

import (
	"context"
	"errors"
	"slices"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/wasm"
)

// each makes a fault of every kind at a point; change says what is expected of each.
func each(list []kind, point string, change func(*fault)) (all []*fault) {
	for _, k := range list {
		f := &fault{point: point, kind: k.name, strike: k.strike}
		change(f)
		all = append(all, f)
	}
	return all
}

// stops expects that nothing goes out, but after a late answer: that alone is no reason.
func stops(f *fault) { f.refuse = true }

// stopsUnlessZero is stops for a part that may have nothing to say.
func stopsUnlessZero(f *fault) {
	f.refuse = f.kind != zeroKind
	f.forget = f.kind == zeroKind && f.point == "retry"
}

// withholds expects that nothing is answered.
func withholds(f *fault) { f.silent = f.kind != lateKind }

// withoutZero leaves the zero value out: after its work is done a part that only returns an error has returned it anyway.
func withoutZero(list []kind) []kind {
	return slices.DeleteFunc(slices.Clone(list), func(k kind) bool { return k.name == zeroKind })
}

// stageFaults strike in place of each stage, and after it has done its work. A quota, a kept answer or a filter that says
// nothing has nothing against the call; what else a stage has to give, the line asks for.
func stageFaults(context.Context, *world) (all []*fault, err error) {
	for _, name := range []string{"identify", "quota", "read", "retry", "intent", "filter", "decide"} {
		expect := stops
		if name == "quota" || name == "retry" || name == "filter" {
			expect = stopsUnlessZero
		}
		all = append(all, each(kinds(), name, expect)...)
		all = append(all, each(withoutZero(kinds()), name+afterwards, stops)...)
	}
	all = append(all, each(kinds(), "filter on the way back", func(f *fault) { f.silent = f.kind != zeroKind && f.kind != lateKind })...)
	return append(all, each(withoutZero(kinds()), "filter on the way back"+afterwards, withholds)...), nil
}

// partFaults strike in what the stages ask.
func partFaults(context.Context, *world) (all []*fault, err error) {
	all = append(all, each(kinds(), "directory", stops)...)
	for _, err := range []error{&identity.Refusal{Reason: "new_reason"}, &intent.Error{Reason: "new_reason"}, wal.ErrUsed, &wasm.Trap{Kind: "new"}} {
		for _, point := range []string{"directory", "dialect", "intent", "decide"} {
			all = append(all, each([]kind{{"foreign: " + err.Error(), failing(err)}}, point, stops)...)
		}
	}
	all = append(all, each(kinds(), "dialect", stops)...)
	all = append(all, each(withoutZero(kinds()), "dialect"+afterwards, stops)...)
	all = append(all, each(mute(), "plans", stops)...)
	all = append(all, each(mute(), "catalogue", stops)...)
	all = append(all, each(mute(), "policies", stops)...)
	all = append(all, each(mute(), "uses", stopsUnlessZero)...)
	return append(all, each(mute(), "steps done", stopsUnlessZero)...), nil
}

// filterFaults strike in the list of filters, in a filter, and in what it says.
func filterFaults(_ context.Context, w *world) (all []*fault, err error) {
	all = append(all, each(kinds(), "filters", stopsUnlessZero)...)
	for _, k := range []string{wasm.TrapFuel, wasm.TrapInput, wasm.TrapInternal, "new"} {
		list := []kind{{"trap " + k, failing(&wasm.Trap{Filter: "f", Kind: k, Err: errInjected})}}
		all = append(all, each(list, "filter's verdict", stops)...)
		all = append(all, each(list, "filter's verdict on the reply", withholds)...)
	}
	all = append(all, each(kinds(), "filter's verdict", stops)...)
	all = append(all, each(kinds(), "filter's verdict on the reply", withholds)...)
	long := make([]string, 40)
	for i := range long {
		long[i] = "l"
	}
	for name, v := range map[string]wasm.Verdict{
		"no kind":             {},
		"unknown kind":        {Kind: 99},
		"pass with a body":    {Kind: wasm.Pass, Body: []byte(`{"path":"/other"}`)},
		"rewrite to nothing":  {Kind: wasm.Rewrite},
		"rewrite to no JSON":  {Kind: wasm.Rewrite, Body: []byte(`{"path":`)},
		"rewrite to an array": {Kind: wasm.Rewrite, Body: []byte(`[]`)},
		"rewrite, key twice":  {Kind: wasm.Rewrite, Body: []byte(`{"path":"/a","path":"/b","content":[],"content":{}}`)},
		"rewrite off schema":  {Kind: wasm.Rewrite, Body: []byte(`{"path":1,"isError":true}`)},
		"too many labels":     {Kind: wasm.Pass, Labels: long},
		"malformed label":     {Kind: wasm.Pass, Labels: []string{"A\n"}},
		"deny":                {Kind: wasm.Deny},
		"deny in odd words":   {Kind: wasm.Deny, Reason: "\x00\xff", Message: string(make([]byte, 4096))},
	} {
		for _, point := range []string{"filter's verdict", "filter's verdict on the reply"} {
			f := &fault{point: point, kind: name, refuse: point == "filter's verdict", silent: true}
			f.strike = func(context.Context, *injector) (bool, error) { return true, nil }
			f.before = func(*world) error { w.filter.verdict = &v; return nil }
			f.after = func(*world) error { w.filter.verdict = nil; return nil }
			all = append(all, f)
		}
	}
	return all, nil
}

// lineFaults strike in what the line itself rests on, and in the gateway's own answers.
func lineFaults(context.Context, *world) (all []*fault, err error) {
	all = append(all, each(kinds(), "subject keys", func(f *fault) { f.refuse = f.kind != lateKind })...)
	all = append(all, each(kinds(), "own answer", func(f *fault) { f.call, f.silent = ownList, f.kind != lateKind })...)
	all = append(all, each(withoutZero(kinds()), "own answer"+afterwards, func(f *fault) { f.call, f.silent = ownList, f.kind != lateKind })...)
	for skip := range 4 { // id, salt and nonce of the admitted record, id of the settled one
		all = append(all, each(kinds(), "randomness", func(f *fault) { f.skip, f.ledger = skip, true })...)
		all = append(all, each(withoutZero(kinds())[:1], "randomness", func(f *fault) { f.skip, f.ledger, f.always = skip, true, true })...)
	}
	for skip := range 12 { // once before the row, after each stage, and around admit, forward and settle
		all = append(all, each(mute()[:1], "clock", func(f *fault) { f.skip, f.ledger = skip, true })...)
	}
	all = append(all, each(mute()[4:], "clock", func(f *fault) { f.ledger = true })...)
	return all, nil
}

// leave is a client that hangs up while the part works on.
func leave(_ context.Context, in *injector) (bool, error) {
	in.end(context.Canceled)
	return false, nil
}

// ledgerFaults strike in the ledger as the line sees it: before a record is written, and after it was.
func ledgerFaults(context.Context, *world) (all []*fault, err error) {
	refusals := kinds()
	for _, err := range []error{wal.ErrDeadline, wal.ErrPoisoned, wal.ErrFull, wal.ErrBusy, wal.ErrClosed, wal.ErrNotOpen, errors.Join(wal.ErrFull, errInjected)} {
		refusals = append(refusals, kind{err.Error(), failing(err)})
	}
	uses := []kind{}
	for _, err := range []error{wal.ErrUsed, wal.ErrOrder, wal.ErrExpired, wal.ErrForeign} {
		uses = append(uses, kind{err.Error(), failing(err)})
	}
	all = append(all, each(uses, "ledger admit", stops)...)
	for _, at := range []struct {
		point string
		call  shape
		out   bool // the call has gone out by then
	}{
		{"ledger admit", planned, false}, {"ledger settle settled", planned, true}, {"ledger settle refused", offPlan, false},
		{"ledger append admitted", ownList, true}, {"ledger settle settled", ownList, true},
	} {
		expect := func(f *fault) {
			f.call, f.ledger = at.call, true
			f.refuse = !at.out && f.kind != lateKind
			f.silent = f.kind != lateKind
		}
		all = append(all, each(refusals, at.point, expect)...)
		all = append(all, each(refusals, at.point+afterwards, expect)...)
		for _, f := range each(withoutZero(kinds())[:1], at.point, expect) {
			f.always = true
			all = append(all, f)
		}
		for _, point := range []string{at.point, at.point + afterwards} {
			all = append(all, each([]kind{{"the caller leaves meanwhile", leave}}, point, func(f *fault) { f.call, f.ledger = at.call, true })...)
		}
	}
	return all, nil
}
