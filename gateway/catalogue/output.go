package catalogue

import (
	"github.com/gatewright/gatewright/merkle/canon"
)

// compileOutput makes the output schema enforceable. One that is not makes the
// tool unusable: its results could be anything, under a promise that they are
// not. It may be any schema, also one of arrays or text (MCP 2026-07-28).
func (t *Tool) compileOutput(c Config, limits canon.Limits) {
	if t.OutputSchema == nil {
		return
	}
	if canon.KindOf(t.OutputSchema) != '{' {
		t.Unusable = "its output schema is not an object"
		return
	}
	if err := canon.Check(t.OutputSchema, limits); err != nil {
		t.Unusable = "its output schema is over a bound: " + err.Error()
		return
	}
	var err error
	if t.output, err = compileSchema(t.OutputSchema, c.MaxResultDepth); err != nil {
		t.Unusable = "its output schema cannot be enforced: " + err.Error()
	}
}

// CheckResult judges a result, an object that passed canon.Check, against the
// output schema. A tool that has one owes structured content, unless it failed
// (MCP 2025-11-25 and 2026-07-28, tools: output schema); a failed one that
// brings some is held to it all the same, as stock clients do. A refusal is a
// *Violation and names place and rule, never the value.
func (t *Tool) CheckResult(result []byte) error {
	if t.output == nil {
		return nil
	}
	structured, ok := canon.Get(result, "structuredContent")
	if !ok {
		if failed, _ := canon.Get(result, "isError"); string(failed) == "true" {
			return nil
		}
		return &Violation{Whole: "the result", Rule: "the output schema: structuredContent is missing"}
	}
	err := t.output.check(structured)
	if v, ok := err.(*Violation); ok { //nolint:errorlint // as check makes it
		v.Whole = "structuredContent"
	}
	return err
}
