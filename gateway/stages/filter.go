package stages

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// FilterUnit is one filter.
type FilterUnit = filters.Unit

// Filters gives a tenant's own filters, which the Line gives back by Release when the call has ended. An error refuses the call.
// Where it is pipeline.Revisions too, the filters are those that belong to the policies that will judge the call.
type Filters interface {
	For(ctx context.Context, tenant string) (*filters.Set, error)
}

// Filter lets the tenant's filters see a call before policy does, and its answer before the caller does. They may refuse
// either, put labels on the call, or rewrite the arguments and the result; what they make of the arguments has to pass
// whatever the caller's own had to. Operations that the gateway answers itself carry nothing to a server and are not
// filtered.
type Filter struct {
	Filters   Filters
	Arguments canon.Limits // of rewritten arguments
	Results   canon.Limits // of rewritten results

	walks sync.Pool
}

// Name is "filter".
func (*Filter) Name() string { return "filter" }

// Check fills c.Labels and, where a filter rewrote the arguments, c.Args and c.Filtered. Each filter sees what those
// before it made of the call.
func (s *Filter) Check(ctx context.Context, c *pipeline.Call) error {
	if c.Answer != nil && !c.Trial {
		return nil
	}
	if ofTask(c) {
		return s.checkTask(ctx, c)
	}
	set, err := s.set(ctx, c)
	if set == nil || err != nil {
		return err
	}
	w := s.take(c, abi.Request)
	defer s.put(w)
	for i := range set.Units {
		if err := w.meet(ctx, &set.Units[i]); err != nil {
			return err
		}
	}
	if w.rewrote != "" {
		c.Came, c.Args, c.Filtered = c.Args, w.shown.Body, "arguments rewritten by "+w.rewrote
	}
	if err := s.checkExtra(ctx, c); err != nil || c.Input == nil {
		return err
	}
	return s.CheckInput(ctx, c, c.Input)
}

// opInput is the operation that filters are told when they see what a client answers to a server's questions.
const opInput = "input_responses"

// CheckInput has the client's answers to what the server asked pass the filters too. They may refuse them, and not rewrite them.
func (s *Filter) CheckInput(ctx context.Context, c *pipeline.Call, input []byte) error {
	set, err := s.set(ctx, c)
	if set == nil || err != nil {
		return err
	}
	w := s.take(c, abi.Request)
	defer s.put(w)
	w.shown.Op, w.shown.Body = opInput, input
	for i := range set.Units {
		if err := w.meet(ctx, &set.Units[i]); err != nil {
			return err
		}
	}
	if w.rewrote != "" {
		return pipeline.Deny(pipeline.FilterDenied, "a filter would change what was answered to the server's questions").WithReason("input, " + w.rewrote)
	}
	return nil
}

// CheckReply lets the filters see the result, or the error object that came in its place, the last filter first. What
// they find adds to c.Labels; where one rewrote it, c.Reply and c.Filtered change.
func (s *Filter) CheckReply(ctx context.Context, c *pipeline.Call) error {
	c.Filtered = "" // what was said of the arguments stands in the admitted record
	if c.Answer != nil || c.Reply.Bare() {
		return nil
	}
	set, err := s.set(ctx, c)
	if set == nil || err != nil {
		return err
	}
	w := s.take(c, abi.Response)
	defer s.put(w)
	for i := range slices.Backward(set.Units) {
		if err := w.meet(ctx, &set.Units[i]); err != nil {
			return err
		}
	}
	if w.rewrote == "" {
		return nil
	}
	c.Filtered = "result rewritten by " + w.rewrote
	if c.Reply.Error != nil {
		c.Reply.Error = w.shown.Body
	} else {
		c.Reply.Result = w.shown.Body
	}
	return nil
}

// CheckInterim lets the filters see a notification that comes before the result, as a result under the notification's own
// method. What they would refuse is not handed on.
func (s *Filter) CheckInterim(ctx context.Context, c *pipeline.Call, method string, params []byte) ([]byte, error) {
	set, err := s.set(ctx, c)
	if set == nil || err != nil {
		return params, err
	}
	w := s.take(c, abi.Response)
	defer s.put(w)
	w.shown.Op, w.shown.Body = method, params
	for i := range slices.Backward(set.Units) {
		if err := w.meet(ctx, &set.Units[i]); err != nil {
			return nil, err
		}
	}
	return w.shown.Body, nil
}

// set is the filters that the call may have to pass, nil when there is none. Its answer passes those that it passed itself,
// whatever came into force since.
func (s *Filter) set(ctx context.Context, c *pipeline.Call) (*filters.Set, error) {
	if r, ok := s.Filters.(pipeline.Revisions); ok {
		c.Take(r)
	}
	f := &c.Force
	if f.Filters == nil && f.Err == nil {
		f.Filters, f.Err = s.Filters.For(ctx, c.Caller.Tenant())
	}
	switch {
	case f.Err != nil:
		return nil, pipeline.Deny(pipeline.FilterFailed, "").WithReason("the filters are not there").Because(f.Err)
	case f.Filters == nil || len(f.Filters.Units) == 0:
		return nil, nil
	}
	return f.Filters, nil
}

// meet has the call pass a filter, if it is placed where the call is. A filter in shadow gets what it would have seen here,
// and is not waited for.
func (w *walk) meet(ctx context.Context, p *filters.Placed) error {
	switch {
	case !p.Asked(w.shown.Phase, w.c.Server, w.c.Name):
		return nil
	case p.Shadow():
		w.shown.Labels = w.c.Labels
		p.Try(&w.shown)
		return nil
	}
	err := w.pass(ctx, p.Unit)
	if err != nil && p.Own() {
		advise(p.Name(), err)
	}
	return err
}

// walk is one call on its way through the filters.
type walk struct {
	stage   *Filter
	c       *pipeline.Call
	shown   abi.Context // the call as the next filter is to see it
	rewrote string      // ids of the filters that rewrote it
	verdict wasm.Verdict
	extra   bool // the body is of _meta
}

// keepBody is the largest body of a verdict, in bytes, whose memory is kept from call to call.
const keepBody = 256 << 10

var noArguments = []byte("{}")

func (s *Filter) take(c *pipeline.Call, p abi.Phase) *walk {
	w, ok := s.walks.Get().(*walk)
	if !ok {
		w = new(walk)
	}
	w.stage, w.c = s, c
	w.show(p)
	return w
}

func (s *Filter) put(w *walk) {
	if cap(w.verdict.Body) > keepBody {
		return
	}
	w.stage, w.c, w.rewrote, w.extra = nil, nil, "", false
	w.shown.Reset()
	w.verdict.Reset()
	s.walks.Put(w)
}

// show sets what all filters are shown alike, and the body as it came.
func (w *walk) show(p abi.Phase) {
	c, to := w.c, &w.shown
	to.Tenant, to.Agent, to.User = c.Caller.Tenant(), c.Caller.Agent(), c.Caller.User()
	to.Op, to.Server, to.Tool = c.Op, c.Server, c.Name
	if c.Trial { // judged as the call that its caller is about to make
		to.Op = "tools/call"
	}
	to.Now, to.Phase, to.Labels = c.Started.UnixMilli(), p, c.Labels
	if planned := c.Planned(); planned.InPlan {
		to.Plan = abi.Plan{ID: planned.ID, Step: planned.Step, In: true}
	}
	switch {
	case p == abi.Request:
		to.Body = c.Args
	case c.Reply.Error != nil:
		to.Body = c.Reply.Error
	default:
		to.Body = c.Reply.Result
	}
	if to.Body == nil {
		to.Body = noArguments
	}
	if p != abi.Request {
		to.Arguments = c.Args
	}
	if ofTask(c) {
		showOrigin(c, to)
	}
}

// pass asks one filter and does as it says.
func (w *walk) pass(ctx context.Context, u FilterUnit) error {
	v, phase := &w.verdict, w.shown.Phase
	v.Reset()
	w.shown.Labels = w.c.Labels
	var err error
	if phase == abi.Request {
		err = u.Decide(ctx, &w.shown, v)
	} else {
		err = u.OnResponse(ctx, &w.shown, v)
	}
	w.shown.Phase = phase // whatever the filter was told, where others are placed does not hang on it
	if err != nil {
		return trapped(u, err)
	}
	if err := w.label(v.Labels); err != nil {
		return broken(u, err)
	}
	if err := w.score(v.Scores); err != nil {
		return broken(u, err)
	}
	switch {
	case v.Kind == wasm.Deny:
		return denied(u, v)
	case v.Kind == wasm.Pass && len(v.Body) == 0:
		return nil
	case v.Kind == wasm.Rewrite:
		return w.rewrite(u, v.Body)
	}
	return broken(u, fmt.Errorf("verdict %s with a body of %d bytes", v.Kind, len(v.Body)))
}

// rewrite takes up what a filter made of the body, once it has passed every check.
func (w *walk) rewrite(u FilterUnit, body []byte) error {
	if bytes.Equal(body, w.shown.Body) {
		return nil
	}
	check := w.stage.checkResult
	switch {
	case w.extra:
		check = w.stage.checkRewrittenExtra
	case w.shown.Phase == abi.Request:
		check = w.stage.checkArguments
	}
	if err := check(w.c, u, body); err != nil {
		return err
	}
	w.shown.Body = bytes.Clone(body)
	if w.rewrote != "" {
		w.rewrote += ", "
	}
	w.rewrote += id(u)
	return nil
}

// checkArguments holds rewritten arguments to what the caller's own had to pass: the strict gate, the tool's schema, and
// the plan's step, which forgives changes only where the plan says so or leaves the argument open.
func (s *Filter) checkArguments(c *pipeline.Call, u FilterUnit, args []byte) error {
	if err := gate(args, s.Arguments); err != nil {
		return broken(u, fmt.Errorf("rewrote the arguments: %w", err))
	}
	if c.Args == nil || c.Tool == nil {
		return broken(u, errors.New("rewrote arguments where there are none"))
	}
	if err := c.Tool.CheckArgs(args); err != nil {
		return spoiled(u, "a filter changed the arguments, which then break the tool's schema: "+err.Error(), err)
	}
	if !c.Grant.Valid() {
		return nil
	}
	err := c.Grant.Covers(args)
	if why, ok := errors.AsType[*intent.Error](err); ok {
		return spoiled(u, "a filter changed an argument that the plan does not let change: "+why.Msg, err)
	}
	return err
}

// checkResult holds a rewritten result to being the same kind of result. A filter that would have the caller see another
// outcome refuses; it does not invent one.
func (s *Filter) checkResult(c *pipeline.Call, u FilterUnit, result []byte) error {
	if err := gate(result, s.Results); err != nil {
		return broken(u, fmt.Errorf("rewrote the result: %w", err))
	}
	was, values, kinds := c.Reply.Result, []string{"resultType", "isError"}, []string{"content", "structuredContent"}
	if c.Reply.Error != nil {
		was, values, kinds = c.Reply.Error, []string{"code"}, []string{"message"}
	}
	for _, name := range values {
		before, _ := canon.Get(was, name)
		if after, _ := canon.Get(result, name); !bytes.Equal(before, after) {
			return broken(u, fmt.Errorf("rewrote %s of the result", name))
		}
	}
	for _, name := range kinds {
		before, _ := canon.Get(was, name)
		if after, _ := canon.Get(result, name); canon.KindOf(before) != canon.KindOf(after) {
			return broken(u, fmt.Errorf("rewrote %s of the result to another kind of value", name))
		}
	}
	return nil
}

// gate lets only one strict JSON object pass, without blanks around it.
func gate(b []byte, l canon.Limits) error {
	if err := canon.Check(b, l); err != nil {
		return err
	}
	if n := len(b); b[0] != '{' || b[n-1] != '}' {
		return errors.New("not an object")
	}
	return nil
}

// Bounds of labels: of each in bytes, of one verdict's and of one call's in number. Each is in the call's records, and a
// value that policies compare.
const (
	maxLabel         = 64
	maxVerdictLabels = 32
	maxVerdictScores = 16
	maxScore         = 1000
	maxLabels        = 64
)

// label adds labels to the call's, which stay sorted and each once. The call's slice may be part of what policy was
// asked, so it is replaced and never changed.
func (w *walk) label(add []string) error {
	if len(add) == 0 {
		return nil
	}
	if len(add) > maxVerdictLabels {
		return fmt.Errorf("%d labels, at most %d", len(add), maxVerdictLabels)
	}
	all := slices.Clone(w.c.Labels)
	for _, label := range add {
		if !isWord(label, maxLabel, ":_.-") {
			return errors.New("a malformed label")
		}
		if i, found := slices.BinarySearch(all, label); !found {
			all = slices.Insert(all, i, label)
		}
	}
	switch {
	case len(all) > maxLabels:
		return fmt.Errorf("more than %d labels on the call", maxLabels)
	case len(all) > len(w.c.Labels):
		w.c.Labels = all
	}
	return nil
}

// score keeps the highest of each score that a filter gave a request; those of a result are read by nobody. Like the
// labels, the call's slice is replaced and never changed.
func (w *walk) score(add []wasm.Score) error {
	if len(add) == 0 {
		return nil
	}
	all := slices.Clone(w.c.Scores)
	for i, s := range add {
		if !isWord(s.Name, maxLabel, "_") || s.Value < 0 || s.Value > maxScore || i >= maxVerdictScores {
			return errors.New("a malformed score")
		}
		at, found := slices.BinarySearchFunc(all, s.Name, func(have policies.Score, name string) int { return strings.Compare(have.Name, name) })
		if !found {
			all = slices.Insert(all, at, policies.Score{Name: s.Name})
		}
		all[at].Value = max(all[at].Value, s.Value)
	}
	if len(all) > maxLabels {
		return fmt.Errorf("more than %d scores on the call", maxLabels)
	}
	if w.shown.Phase == abi.Request {
		w.c.Scores = all
	}
	return nil
}

// isWord says whether s has 1 to limit bytes of a-z, 0-9 and others.
func isWord(s string, limit int, others string) bool {
	for i := range len(s) {
		if c := s[i]; c-'a' > 'z'-'a' && c-'0' > 9 && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return len(s) > 0 && len(s) <= limit
}

// id names a filter in records: its name and enough of its digest to tell versions apart.
func id(u FilterUnit) string {
	d := u.Digest()
	return u.Name() + "@" + hex.EncodeToString(d[:6])
}

// Bounds of what a filter says about a refusal, in bytes.
const (
	maxReason  = 64
	maxMessage = 256
)

// denied is a filter's own refusal. The caller is told its words.
func denied(u FilterUnit, v *wasm.Verdict) error {
	text, reason := "a filter refuses this call", "denied"
	if isWord(v.Reason, maxReason, "_") {
		reason = v.Reason
		text += ": " + reason
	}
	if v.Message != "" && len(v.Message) <= maxMessage {
		text += ": " + v.Message
	}
	return pipeline.Deny(pipeline.FilterDenied, text).WithReason(id(u) + ": " + reason)
}

// spoiled refuses a call that would not be the planned or a valid one any more after a filter has changed it.
func spoiled(u FilterUnit, text string, err error) error {
	d := pipeline.Deny(pipeline.FilterDenied, text).WithReason(id(u) + ": rewrote what must not change").Because(err)
	d.Hint = "leave out what the filter takes out, or make the plan's argument open or redactable"
	return d
}

// trapped refuses a call that a filter could not judge. Kinds of traps are a closed list; their texts are for the log.
func trapped(u FilterUnit, err error) error {
	text, why := "", "failed"
	if t, ok := errors.AsType[*wasm.Trap](err); ok {
		why = "trap " + t.Kind
		if t.Kind == wasm.TrapInput {
			text = "this call is too large for filters"
		}
	}
	return pipeline.Deny(pipeline.FilterFailed, text).WithReason(id(u) + ": " + why).Because(err)
}

// advise tells whose filter it is that failed: one of the tenant's own gets no better by trying again, and no operator mends it.
// What passes by itself keeps its hint.
func advise(name string, err error) {
	d, ok := errors.AsType[*pipeline.Denial](err)
	if !ok || d.Code != pipeline.FilterFailed {
		return
	}
	if t, ok := errors.AsType[*wasm.Trap](d.Cause); ok {
		switch t.Kind {
		case wasm.TrapBusy, wasm.TrapQuota, wasm.TrapCanceled, wasm.TrapClosed, wasm.TrapInternal:
			return
		}
	}
	d.Hint = "your organisation's filter " + name + " failed: `gatewright filter list " + name + "` counts why, `gatewright filter logs " + name + "` prints what it wrote"
}

// broken refuses a call on which a filter said what no filter may say. err holds no byte of the call.
func broken(u FilterUnit, err error) error {
	return pipeline.Deny(pipeline.FilterFailed, "").WithReason(id(u) + ": " + err.Error()).Because(err)
}
