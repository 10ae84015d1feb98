package connectortest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

const (
	many     = 64      // calls at once
	large    = 1 << 20 // bytes of an argument
	maxPages = 100     // of a list, as the gateway takes by default
	nobody   = "no_such_tool_of_anybody"
)

// tool is what matters of a listed tool.
type tool struct {
	name  string
	input []byte // its inputSchema
	raw   []byte
}

// ask makes one call and checks the answer as the gateway would.
func (x *exam) ask(ctx context.Context, r connector.Request) (reply connector.Reply, err error) {
	r.Principal = "check"
	if err := x.connector.Call(ctx, &r, &reply); err != nil {
		return reply, fmt.Errorf("%s %s: %w", r.Method, r.Name, err)
	}
	answer := reply.Result
	if answer == nil {
		answer = reply.Error
	}
	if err := canon.Check(answer, canon.DefaultLimits()); err != nil {
		return reply, fmt.Errorf("%s %s: the answer is not strict JSON: %w", r.Method, r.Name, err)
	}
	if canon.KindOf(answer) != '{' {
		return reply, fmt.Errorf("%s %s: the answer is not a JSON object", r.Method, r.Name)
	}
	return reply, nil
}

// silentError is why a program did not get so far as to speak the handshake of connectors.
type silentError struct{ error }

func (e *silentError) Unwrap() error { return e.error }

// NoHandshake tells whoever does not know this package what kind of failure this is.
func (e *silentError) NoHandshake() bool { return true }

// starts waits for the first process. One failure is enough: that the runtime would try again makes the same words
// come again.
func (x *exam) starts(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- x.connector.Ready(waiting) }()
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		_ = poll(waiting, "", func() bool { return x.connector.Stats().Crashes > 0 })
	}()
	var err error
	select {
	case err = <-ready:
		cancel()
	case <-failed:
		cancel()
		late := <-ready
		err = cmp.Or(x.connector.Stats().Err, late)
	}
	<-failed
	if err != nil {
		return &silentError{err}
	}
	if x.connector.Stats().Info.Name == "" {
		return errors.New("it has no name: give connector.Serve an Info")
	}
	return nil
}

// lists reads all pages of the list.
func (x *exam) lists(ctx context.Context) (err error) {
	x.tools, err = x.list(ctx)
	if err == nil && x.observer.Listed != nil {
		x.observer.Listed(len(x.tools), x.uncalled())
	}
	return err
}

func (x *exam) list(ctx context.Context) (all []tool, err error) {
	seen := map[string]bool{}
	var cursor []byte
	for range maxPages {
		r := connector.Request{Method: "tools/list"}
		if cursor != nil {
			r.Params = append(append([]byte(`{"cursor":`), cursor...), '}')
		}
		reply, err := x.ask(ctx, r)
		if err != nil {
			return nil, err
		}
		page, next, err := readPage(reply)
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			if seen[t.name] {
				return nil, fmt.Errorf("two tools are called %q", t.name)
			}
			seen[t.name] = true
		}
		all = append(all, page...)
		if next == nil {
			return all, nil
		}
		if bytes.Equal(next, cursor) {
			return nil, errors.New("tools/list repeats a cursor")
		}
		cursor = next
	}
	return nil, fmt.Errorf("tools/list has over %d pages", maxPages)
}

// readPage reads one answer to tools/list; next is nil on the last.
func readPage(reply connector.Reply) (page []tool, next []byte, err error) {
	if reply.Result == nil {
		return nil, nil, fmt.Errorf("tools/list is answered with the error %s", reply.Error)
	}
	list, ok := canon.Get(reply.Result, "tools")
	if !ok || canon.KindOf(list) != '[' {
		return nil, nil, errors.New(`the result of tools/list has no array "tools"`)
	}
	err = canon.EachElement(list, func(i int, raw []byte) error {
		t, err := readTool(raw)
		if err != nil {
			return fmt.Errorf("tool %d of tools/list (%q): %w", i, t.name, err)
		}
		page = append(page, t)
		return nil
	})
	next, ok = canon.Get(reply.Result, "nextCursor")
	switch {
	case err != nil:
		return nil, nil, err
	case !ok || canon.KindOf(next) == 'n':
		return page, nil, nil
	case canon.KindOf(next) != '"':
		return nil, nil, errors.New("the cursor of tools/list is not a string")
	}
	return page, bytes.Clone(next), nil
}

func readTool(raw []byte) (t tool, err error) {
	if canon.KindOf(raw) != '{' {
		return t, errors.New("it is not an object")
	}
	t.raw = bytes.Clone(raw)
	name, _ := canon.Get(t.raw, "name")
	if t.name, err = canon.Unquote(name); err != nil || t.name == "" || len(t.name) > 128 {
		return t, errors.New("its name is not a string of 1 to 128 bytes")
	}
	for _, text := range []string{"title", "description"} {
		if v, ok := canon.Get(t.raw, text); ok && canon.KindOf(v) != '"' {
			return t, fmt.Errorf("its %s is not a string", text)
		}
	}
	for _, object := range []string{"inputSchema", "outputSchema", "annotations"} {
		v, ok := canon.Get(t.raw, object)
		if ok && canon.KindOf(v) != '{' || !ok && object == "inputSchema" {
			return t, fmt.Errorf("its %s is not an object", object)
		}
		kind, _ := canon.Get(v, "type")
		if ok && object != "annotations" && string(kind) != `"object"` {
			return t, fmt.Errorf(`the "type" of its %s is not "object"`, object)
		}
		if object == "inputSchema" {
			t.input = v
		}
	}
	return t, nil
}

// listsAgain: the gateway pins what tools are, and keeps back what has changed.
func (x *exam) listsAgain(ctx context.Context) error {
	again, err := x.list(ctx)
	if err != nil {
		return err
	}
	if len(again) != len(x.tools) {
		return fmt.Errorf("it listed %d tools, and then %d", len(x.tools), len(again))
	}
	for i, t := range again {
		if !bytes.Equal(t.raw, x.tools[i].raw) {
			return fmt.Errorf("tool %d was %s and is %s", i, x.tools[i].raw, t.raw)
		}
	}
	return nil
}

// request is the example call.
func (x *exam) request() connector.Request { return x.candidate.Example.request() }

func (e Example) request() connector.Request {
	return connector.Request{Method: "tools/call", Name: e.Tool, Arguments: []byte(cmp.Or(e.Arguments, "{}"))}
}

func (x *exam) example(ctx context.Context) error {
	reply, err := x.ask(ctx, x.request())
	if err != nil {
		return err
	}
	return x.candidate.Example.judge(reply)
}

// judge says what is wrong with the answer to a call.
func (e Example) judge(reply connector.Reply) error {
	if refused(reply) {
		return fmt.Errorf("it is answered with the error %s%s", reply.Error, reply.Result)
	}
	if content, ok := canon.Get(reply.Result, "content"); !ok || canon.KindOf(content) != '[' {
		return fmt.Errorf(`the result has no array "content": %s`, reply.Result)
	}
	if !strings.Contains(string(reply.Result), e.Want) {
		return fmt.Errorf("the result lacks %q: %s", e.Want, reply.Result)
	}
	return nil
}

// refused says whether an answer is an error, of JSON-RPC or of the tool.
func refused(reply connector.Reply) bool {
	failed, _ := canon.Get(reply.Result, "isError")
	return reply.Error != nil || string(failed) == "true"
}

// badArguments: the gateway checks arguments first, but a connector must not break of others. What it answers is
// its own affair.
func (x *exam) badArguments(ctx context.Context) error {
	r := x.request()
	for _, bad := range append([]string{`{}`, `{"no_such_argument":{"a":[1,null]}}`}, x.mistyped(r.Name)...) {
		r.Arguments = []byte(bad)
		if _, err := x.ask(ctx, r); err != nil {
			return fmt.Errorf("with the arguments %s: %w", bad, err)
		}
	}
	return nil
}

// mistyped returns, for each property of a tool, arguments in which it is of another type.
func (x *exam) mistyped(name string) (bad []string) {
	for _, t := range x.tools {
		properties, ok := canon.Get(t.input, "properties")
		if t.name != name || !ok || canon.KindOf(properties) != '{' {
			continue
		}
		_ = canon.Each(properties, func(key, schema []byte) error { // what it cannot read is left out
			wrong := `["x"]`
			if kind, ok := canon.Get(schema, "type"); ok && string(kind) == `"array"` {
				wrong = `{"x":1}`
			}
			bad = append(bad, string(canon.AppendString([]byte("{"), string(key)))+":"+wrong+"}")
			return nil
		})
	}
	return bad
}

func (x *exam) unknownTool(ctx context.Context) error {
	reply, err := x.ask(ctx, connector.Request{Method: "tools/call", Name: nobody, Arguments: []byte(`{}`)})
	if err == nil && !refused(reply) {
		return fmt.Errorf("a tool that is not listed gives the result %s", reply.Result)
	}
	return err
}

func (x *exam) unknownMethod(ctx context.Context) error {
	reply, err := x.ask(ctx, connector.Request{Method: "no/such_method"})
	if err != nil {
		return err
	}
	code, _ := canon.Get(reply.Error, "code")
	if reply.Error == nil || string(code) != "-32601" {
		return fmt.Errorf("it is answered with %s%s, and not with the error -32601", reply.Error, reply.Result)
	}
	return nil
}

// pings waits for signs of life, which the runtime asks for.
func (x *exam) pings(ctx context.Context) error {
	return poll(ctx, "no ping was answered", func() bool { return x.connector.Stats().Pings >= 2 })
}

// poll waits for a condition.
func poll(ctx context.Context, otherwise string, ok func() bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.New(otherwise)
		}
	}
	return nil
}

// large sends far more than the tool expects; any answer will do.
func (x *exam) large(ctx context.Context) error {
	r := x.request()
	r.Name = cmp.Or(r.Name, nobody)
	r.Arguments = []byte(`{"no_such_argument":"` + strings.Repeat("x", large) + `"}`)
	_, err := x.ask(ctx, r)
	return err
}

// try makes a call that must succeed.
func (x *exam) try(ctx context.Context) error {
	if x.candidate.Example.Tool != "" {
		return x.example(ctx)
	}
	_, err := x.list(ctx)
	return err
}

func (x *exam) many(ctx context.Context) error {
	errs := make([]error, many)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = x.try(ctx) })
	}
	wg.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d failed, one of them: %w", len(errs), many, errs[0])
	}
	return nil
}

// cancelled gives calls up at different moments; the connector must be free again afterwards.
func (x *exam) cancelled(ctx context.Context) error {
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Duration(i)*50*time.Microsecond)
			defer cancel()
			_ = x.try(short) // whether it was quicker is all the same
		})
	}
	wg.Wait()
	err := poll(ctx, "it does not answer calls that were cancelled", func() bool { return x.connector.Stats().InFlight == 0 })
	return errors.Join(err, x.many(ctx))
}
