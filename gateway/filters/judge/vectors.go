package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies/manifest"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Bounds of what comes with a module.
const (
	maxVectors     = 64
	maxVectorBytes = 256 << 10 // of all of them, whatever is kept of each
	maxVectorText  = 256       // of a name and the like
)

// ParseVectors reads test vectors strictly: a list of them, or an object with the member "vectors".
func ParseVectors(data []byte) ([]Vector, error) {
	if len(data) > maxVectorBytes {
		return nil, fmt.Errorf("%w: vectors of %d bytes, at most %d (leave some out)", ErrInvalid, len(data), maxVectorBytes)
	}
	if err := canon.Check(data, canon.DefaultLimits()); err != nil {
		return nil, fmt.Errorf("%w: vectors: %w", ErrInvalid, err)
	}
	var file struct {
		Vectors []Vector `json:"vectors"`
	}
	into := any(&file)
	if canon.KindOf(data) == '[' {
		into = &file.Vectors
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return nil, fmt.Errorf("%w: vectors: %w (their members are name, phase, agent, user, op, server, tool, now, labels, arguments, result and want)", ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: vectors: more than one value", ErrInvalid)
	}
	return file.Vectors, checkVectors(file.Vectors)
}

// Validate refuses what cannot be before the module is looked at.
func (u Upload) Validate() error {
	if err := manifest.CheckFilterName(u.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(u.Module) == 0 {
		return fmt.Errorf("%w: the module is empty (give the .wasm file)", ErrInvalid)
	}
	if err := CheckConfig(u.Config); err != nil {
		return err
	}
	return checkVectors(u.Vectors)
}

// CheckConfig refuses what gw_init cannot be shown.
func CheckConfig(config json.RawMessage) error {
	if config == nil {
		return nil
	}
	if len(config) > manifest.MaxFilterConfig {
		return fmt.Errorf("%w: a config of %d bytes, at most %d", ErrInvalid, len(config), manifest.MaxFilterConfig)
	}
	if err := canon.Check(config, canon.DefaultLimits()); err != nil || canon.KindOf(config) != '{' {
		return fmt.Errorf("%w: config: want a JSON object", ErrInvalid)
	}
	return nil
}

func checkVectors(all []Vector) error {
	if len(all) > maxVectors {
		return fmt.Errorf("%w: %d vectors, at most %d (leave some out)", ErrInvalid, len(all), maxVectors)
	}
	size := 0
	for i, v := range all {
		if err := v.check(); err != nil {
			return fmt.Errorf("%w: vector %d: %w", ErrInvalid, i+1, err)
		}
		if size += v.size(); size > maxVectorBytes {
			return fmt.Errorf("%w: vector %d: with it the vectors have %d bytes, at most %d (leave some out)", ErrInvalid, i+1, size, maxVectorBytes)
		}
	}
	return nil
}

// size is how many bytes of text are kept of a vector. It is never more than the vector has as JSON.
func (v Vector) size() (n int) {
	for _, s := range v.texts() {
		n += len(s.text)
	}
	n += len(v.Phase) + len(v.Want.Verdict) + len(v.Arguments) + len(v.Result) + len(v.Want.Body)
	for _, s := range v.Labels {
		n += len(s)
	}
	for _, s := range v.Want.Labels {
		n += len(s)
	}
	for s := range v.Want.Scores {
		n += len(s)
	}
	return n
}

// member is a text of a vector, and what it is called there.
type member struct{ name, text string }

func (v Vector) texts() [7]member {
	return [...]member{
		{"name", v.Name}, {"agent", v.Agent}, {"user", v.User}, {"op", v.Op}, {"server", v.Server}, {"tool", v.Tool}, {"want.reason", v.Want.Reason},
	}
}

func (v Vector) check() error {
	for _, s := range v.texts() {
		if len(s.text) > maxVectorText {
			return fmt.Errorf("%s has %d bytes, at most %d (shorten it)", s.name, len(s.text), maxVectorText)
		}
	}
	switch {
	case v.Phase != "" && v.Phase != manifest.Request && v.Phase != manifest.Response:
		return fmt.Errorf("phase %.20q: want request or response", v.Phase)
	case v.response() && v.Arguments != nil:
		return errors.New("arguments in the phase response (want result)")
	case !v.response() && v.Result != nil:
		return errors.New("a result in the phase request (want arguments, or \"phase\": \"response\")")
	case !slices.Contains([]string{"", "pass", "deny", "rewrite"}, v.Want.Verdict):
		return fmt.Errorf("want.verdict %.20q: want pass, deny or rewrite", v.Want.Verdict)
	case len(v.Labels) > 64 || len(v.Want.Labels) > 64 || len(v.Want.Scores) > 64:
		return errors.New("more than 64 labels or scores (leave some out)")
	}
	for _, b := range []json.RawMessage{v.Arguments, v.Result, v.Want.Body} {
		if b != nil && (canon.Check(b, canon.DefaultLimits()) != nil || canon.KindOf(b) != '{') {
			return errors.New("arguments, result and want.body are JSON objects")
		}
	}
	return nil
}

func (v Vector) response() bool { return v.Phase == manifest.Response }

// show makes the context that the filter is shown.
func (v Vector) show(tenant string) *abi.Context {
	c := &abi.Context{
		Tenant: tenant, Agent: v.Agent, User: v.User, Op: v.Op, Server: v.Server, Tool: v.Tool, Now: v.Now, Labels: v.Labels,
		Body: []byte(v.Arguments),
	}
	if v.Op == "" {
		c.Op = "tools/call"
	}
	if v.response() {
		c.Phase, c.Body = abi.Response, []byte(v.Result)
	}
	return c
}

// answer is what a filter said to a vector, or the trap that came of it.
type answer struct {
	verdict abi.Verdict
	trap    string
	cause   error // of the trap, may be nil
	fuel    int64
}

func (a answer) same(b answer) bool {
	return a.trap == b.trap && a.fuel == b.fuel && a.text() == b.text()
}

// text says a verdict in full.
func (a answer) text() string {
	v := a.verdict
	return fmt.Sprintf("%s %q %q %q %v %s", v.Kind, v.Reason, v.Message, v.Labels, v.Scores, v.Body)
}

// ask shows a filter all vectors.
func (t *trial) ask(ctx context.Context, f *wasm.Filter) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, t.judge.cfg.Time)
	defer cancel()
	all := make([]answer, len(t.upload.Vectors))
	for i, v := range t.upload.Vectors {
		a := &all[i]
		t.last = ""
		var err error
		if shown := v.show(t.tenant); v.response() {
			err = f.OnResponse(ctx, shown, &a.verdict)
		} else {
			err = f.Decide(ctx, shown, &a.verdict)
		}
		a.fuel = a.verdict.Fuel
		if trap, ok := errors.AsType[*wasm.Trap](err); ok {
			if trap.Kind == wasm.TrapCanceled {
				return nil, t.late(ctx, i)
			}
			a.trap, a.cause = trap.Kind, trap.Err
			break // one is enough to reject it
		}
	}
	return all, nil
}

// late says whose time was over.
func (t *trial) late(ctx context.Context, i int) error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return reject("give fewer vectors, or such as take less", "%s: its vectors took more than %v", t.title(i), t.judge.cfg.Time)
	}
	return fmt.Errorf("judge filter: %w", context.Cause(ctx))
}

// selfTest asks all vectors twice: the answers have to be those that are wanted, and the same with the same fuel.
func (t *trial) selfTest(ctx context.Context) (string, error) {
	first, err := t.ask(ctx, t.filter)
	if err != nil {
		return "", err
	}
	for i, v := range t.upload.Vectors {
		if first[i].trap != "" {
			return "", t.trapped(i, first[i])
		}
		if err := v.Want.met(first[i]); err != nil {
			return "", reject("mend the filter, or what the vector wants", "%s: %v", t.title(i), err)
		}
		t.report.Fuel = max(t.report.Fuel, first[i].fuel)
	}
	second, err := t.ask(ctx, t.filter)
	if err != nil {
		return "", err
	}
	t.answers = first
	if err := t.differ(first, second, "the second time"); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, twice the same; at most %d units of fuel", t.asked(), t.report.Fuel), nil
}

// crosscheck asks them by an engine of another make.
func (t *trial) crosscheck(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.judge.cfg.Time)
	defer cancel()
	f, err := t.judge.runtime.LoadInterpreted(ctx, t.upload.Name, t.upload.Module, t.upload.Config, wasm.WithLog(func(int, string) {}))
	if err != nil {
		if ctx.Err() != nil {
			return "", reject("do less in gw_init", "it took more than %v to start by the interpreter", t.judge.cfg.Time)
		}
		return "", reject(crossHint, "it does not start by the interpreter: %v", err)
	}
	defer func() { _ = f.Close(context.WithoutCancel(ctx)) }() // frees memory, and has nothing else to fail at
	got, err := t.ask(ctx, f)
	if err != nil {
		return "", err
	}
	if err := t.differ(t.answers, got, "by the interpreter"); err != nil {
		return "", err
	}
	return "the same by the interpreter", nil
}

const crossHint = "what it computes must not depend on the engine: avoid the bits of NaN; if it does not use floating point, tell the gateway's makers"

func (t *trial) differ(want, got []answer, when string) error {
	for i := range want {
		if want[i].same(got[i]) {
			continue
		}
		what := "another verdict"
		if want[i].text() == got[i].text() && want[i].trap == got[i].trap {
			what = fmt.Sprintf("%d units of fuel instead of %d", got[i].fuel, want[i].fuel)
		}
		return reject(crossHint, "%s: %s %s", t.title(i), what, when)
	}
	return nil
}

// met tells whether an answer is what is wanted. Its error names what the author wrote, and of the answer what is no part of a
// call.
func (w Want) met(a answer) error {
	v := a.verdict
	switch {
	case w.Verdict != "" && w.Verdict != v.Kind.String():
		return fmt.Errorf("verdict %s, want %s", v.Kind, w.Verdict)
	case w.Reason != "" && w.Reason != v.Reason:
		return fmt.Errorf("reason %q, want %q", v.Reason, w.Reason)
	case w.Labels != nil && !sameWords(w.Labels, v.Labels):
		return fmt.Errorf("labels %q, want %q", v.Labels, w.Labels)
	case w.Scores != nil && !maps.Equal(w.Scores, scoresOf(v)):
		return fmt.Errorf("scores %v, want %v", scoresOf(v), w.Scores)
	case w.Body != nil && !sameJSON(w.Body, v.Body):
		return errors.New("the rewritten body is not the one that is wanted")
	}
	return nil
}

func scoresOf(v abi.Verdict) map[string]int64 {
	out := map[string]int64{}
	for _, s := range v.Scores {
		out[s.Name] = s.Value
	}
	return out
}

func sameWords(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, strings.Compare)
	slices.SortFunc(b, strings.Compare)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

func sameJSON(a, b []byte) bool {
	x, err := canonical(a)
	if err != nil {
		return false
	}
	y, err := canonical(b)
	return err == nil && bytes.Equal(x, y)
}

// canonical writes a value without blanks and with its members in order; numbers stay as they were written.
func canonical(data []byte) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
