// Command opa compiles Rego to WebAssembly with Open Policy Agent's own compiler, and evaluates the same Rego with its own
// evaluator, so that conformance/opa_test.go can hold the gateway against it. It is a module of its own: the gateway does not
// depend on OPA. It reads one JSON object a line and answers each with one.
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
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// question is a policy, and what to evaluate of it.
type question struct {
	Module      string            `json:"module"`
	Entrypoints []string          `json:"entrypoints"` // package/rule
	Data        json.RawMessage   `json:"data"`
	Now         int64             `json:"now"` // milliseconds since 1970
	Inputs      []json.RawMessage `json:"inputs"`
}

// answer holds the compiled policy, and for each input by entrypoint the value, null where it is undefined.
type answer struct {
	Wasm    []byte                       `json:"wasm,omitempty"`
	Results []map[string]json.RawMessage `json:"results,omitempty"`
	Error   string                       `json:"error,omitempty"`
}

func main() {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "opa:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	d, e := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var q question
		if err := d.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		a, err := reply(ctx, &q)
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := e.Encode(a); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func reply(ctx context.Context, q *question) (a answer, err error) {
	if a.Wasm, err = build(ctx, q); err != nil {
		return a, fmt.Errorf("compile: %w", err)
	}
	queries := map[string]rego.PreparedEvalQuery{}
	for _, e := range q.Entrypoints {
		if queries[e], err = prepare(ctx, q, e); err != nil {
			return a, fmt.Errorf("prepare %s: %w", e, err)
		}
	}
	for _, text := range q.Inputs {
		input, err := ast.ValueFromReader(bytes.NewReader(text))
		if err != nil {
			return a, fmt.Errorf("read an input: %w", err)
		}
		values := map[string]json.RawMessage{}
		for e, query := range queries {
			rs, err := query.Eval(ctx, rego.EvalParsedInput(input), rego.EvalTime(time.UnixMilli(q.Now)))
			if err != nil {
				return a, fmt.Errorf("evaluate %s: %w", e, err)
			}
			if len(rs) == 0 {
				values[e] = json.RawMessage("null")
				continue
			}
			if values[e], err = json.Marshal(rs[0].Expressions[0].Value); err != nil {
				return a, err
			}
		}
		a.Results = append(a.Results, values)
	}
	return a, nil
}

// build is what `opa build -t wasm` does, without the bundle around it.
func build(ctx context.Context, q *question) ([]byte, error) {
	const name = "policy.rego"
	parsed, err := ast.ParseModule(name, q.Module)
	if err != nil {
		return nil, err
	}
	b := &bundle.Bundle{Data: map[string]any{}, Modules: []bundle.ModuleFile{{URL: name, Path: name, Raw: []byte(q.Module), Parsed: parsed}}}
	c := compile.New().WithTarget(compile.TargetWasm).WithEntrypoints(q.Entrypoints...).WithBundle(b).
		WithCapabilities(ast.CapabilitiesForThisVersion())
	if err := c.Build(ctx); err != nil {
		return nil, err
	}
	if n := len(c.Bundle().WasmModules); n != 1 {
		return nil, fmt.Errorf("%d modules, want 1", n)
	}
	return c.Bundle().WasmModules[0].Raw, nil
}

func prepare(ctx context.Context, q *question, entrypoint string) (rego.PreparedEvalQuery, error) {
	data := map[string]any{}
	if len(q.Data) > 0 {
		d := json.NewDecoder(bytes.NewReader(q.Data))
		d.UseNumber()
		if err := d.Decode(&data); err != nil {
			return rego.PreparedEvalQuery{}, err
		}
	}
	return rego.New(rego.Query("data."+strings.ReplaceAll(entrypoint, "/", ".")), rego.Module("policy.rego", q.Module),
		rego.Store(inmem.NewFromObject(data))).PrepareForEval(ctx)
}
