// Command peers answers the questions of `go run ./bench policy` with Open Policy Agent, as a module of its own: the
// gateway does not depend on it. It reads one JSON object a line and answers each with one, and measures its own CPU time,
// so that nothing between the processes is counted.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// question loads a module under a name, or, when Run says how to give it the inputs, measures it.
type question struct {
	Name   string            `json:"name"`
	Module string            `json:"module"`
	Inputs []json.RawMessage `json:"inputs"`
	Run    string            `json:"run"` // "parsed": the inputs are OPA's values already; "json": they are text
	Time   time.Duration     `json:"time"`
}

type answer struct {
	Version string  `json:"version,omitempty"`
	Load    float64 `json:"load_s,omitempty"` // CPU seconds of parsing, compiling and preparing
	Allowed []bool  `json:"allowed,omitempty"`
	Calls   int     `json:"calls,omitempty"`
	CPU     float64 `json:"cpu_us,omitempty"` // a call
	Mallocs float64 `json:"mallocs,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// peer is one prepared module.
type peer struct {
	query  rego.PreparedEvalQuery
	inputs []json.RawMessage
	parsed []ast.Value
	next   int
}

func main() {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	peers := map[string]*peer{}
	d, e := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var q question
		if err := d.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		a, err := reply(ctx, peers, &q)
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := e.Encode(a); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func reply(ctx context.Context, peers map[string]*peer, q *question) (answer, error) {
	if q.Run == "" {
		p, a, err := load(ctx, q)
		peers[q.Name] = p
		return a, err
	}
	p := peers[q.Name]
	if p == nil {
		return answer{}, fmt.Errorf("nothing is loaded as %q", q.Name)
	}
	decide := map[string]func(context.Context, int) (bool, error){"parsed": p.fromParsed, "json": p.fromJSON}[q.Run]
	if decide == nil {
		return answer{}, fmt.Errorf("no run %q", q.Run)
	}
	return p.measure(ctx, q.Time, decide)
}

func load(ctx context.Context, q *question) (*peer, answer, error) {
	p := &peer{inputs: q.Inputs}
	from := cpu()
	var err error
	p.query, err = rego.New(rego.Query("data.gate.allow"), rego.Module("gate.rego", q.Module)).PrepareForEval(ctx)
	a := answer{Load: (cpu() - from).Seconds(), Version: version()}
	if err != nil {
		return nil, a, err
	}
	for i, text := range q.Inputs {
		v, err := ast.ValueFromReader(bytes.NewReader(text))
		if err != nil {
			return nil, a, fmt.Errorf("input %d: %w", i, err)
		}
		p.parsed = append(p.parsed, v)
	}
	for i := range p.inputs {
		ok, err := p.fromParsed(ctx, i)
		if err != nil {
			return nil, a, err
		}
		a.Allowed = append(a.Allowed, ok)
	}
	return p, a, nil
}

func (p *peer) fromParsed(ctx context.Context, i int) (bool, error) {
	return p.decide(ctx, rego.EvalParsedInput(p.parsed[i]))
}

func (p *peer) fromJSON(ctx context.Context, i int) (bool, error) {
	var input any
	if err := json.Unmarshal(p.inputs[i], &input); err != nil {
		return false, err
	}
	return p.decide(ctx, rego.EvalInput(input))
}

var errNoAnswer = errors.New("the query has no answer")

func (p *peer) decide(ctx context.Context, input rego.EvalOption) (bool, error) {
	rs, err := p.query.Eval(ctx, input)
	if err != nil {
		return false, err
	}
	if len(rs) != 1 || len(rs[0].Expressions) != 1 {
		return false, errNoAnswer
	}
	ok, isBool := rs[0].Expressions[0].Value.(bool)
	if !isBool {
		return false, errNoAnswer
	}
	return ok, nil
}

// measure decides one request after the other until so much CPU time is used.
func (p *peer) measure(ctx context.Context, d time.Duration, decide func(context.Context, int) (bool, error)) (answer, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	calls, from, used := 0, cpu(), time.Duration(0)
	for used < d {
		for range 64 {
			if _, err := decide(ctx, p.next); err != nil {
				return answer{}, err
			}
			p.next = (p.next + 1) % len(p.inputs)
			calls++
		}
		used = cpu() - from
	}
	runtime.ReadMemStats(&after)
	n := float64(calls)
	return answer{Calls: calls, CPU: float64(used.Nanoseconds()) / 1e3 / n, Mallocs: float64(after.Mallocs-before.Mallocs) / n}, nil
}

// cpu is the user and system time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no reason to fail, and without it nothing can be measured
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// version is the OPA that was built in.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/open-policy-agent/opa" {
			return m.Version
		}
	}
	return "unknown"
}
