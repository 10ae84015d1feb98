package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/gatewright/gatewright/plugins/connector"
)

// effect says what a tool does to the world, in MCP's annotations and their
// order.
type effect struct{ readOnly, destructive, idempotent, openWorld bool }

func (e effect) annotations(title string) (json.RawMessage, error) {
	return json.Marshal(struct {
		Destructive bool   `json:"destructiveHint"`
		Idempotent  bool   `json:"idempotentHint"`
		OpenWorld   bool   `json:"openWorldHint"`
		ReadOnly    bool   `json:"readOnlyHint"`
		Title       string `json:"title"`
	}{e.destructive, e.idempotent, e.openWorld, e.readOnly, title})
}

// tool is one tool, or what is wrong with its description.
type tool struct {
	connector.Tool
	err error
}

// describe makes a tool whose run needs only its arguments. Schemas are written
// out, not inferred: they are what the gateway pins, hashes and checks, so they
// should be readable here. Arguments that break the input schema, and an error
// of run, become the tool's failure, not the protocol's.
func describe[In, Out any](name, title, description string, e effect, input, output string, run func(context.Context, In) (Out, error)) tool {
	t := tool{Tool: connector.Tool{Name: name, Title: title, Description: description}}
	rules, err := parseSchema(input)
	if err != nil {
		t.err = fmt.Errorf("describe %s: %w", name, err)
		return t
	}
	t.InputSchema, t.OutputSchema = compact(input), compact(output)
	t.Annotations, t.err = e.annotations(title)
	t.Handle = func(ctx context.Context, args []byte) (connector.Reply, error) {
		var in In
		if err := rules.read(args, &in); err != nil {
			return connector.Failed("arguments: " + err.Error()), nil
		}
		out, err := run(ctx, in)
		switch {
		case err != nil && ctx.Err() != nil:
			return connector.Reply{}, err
		case err != nil:
			return connector.Failed(err.Error()), nil
		}
		return connector.JSON(out)
	}
	return t
}

// compact drops the blanks that make a schema readable in the source.
func compact(text string) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return json.RawMessage(text) // whoever takes it will say what is wrong with it
	}
	return b.Bytes()
}
