// Command units is a worked example of a connector: it converts units of
// measure and counts, over restarts, which conversions were asked for.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"

	"github.com/gatewright/gatewright/plugins/connector"
)

func main() {
	state := flag.String("state", "", "the file that keeps the counts; empty: they last as long as the process")
	flag.Parse()
	counts, err := openCounts(*state)
	if err != nil {
		fmt.Fprintln(os.Stderr, "units:", err) // the gateway keeps standard error as the connector's log
		os.Exit(1)
	}
	server, err := connector.Tools(convert(counts), list(), popular(counts))
	if err != nil {
		fmt.Fprintln(os.Stderr, "units:", err)
		os.Exit(1)
	}
	os.Exit(connector.Serve(connector.Info{Name: "units", Version: "1.0"}, server))
}

// convert is the tool that does the work.
func convert(c *counts) connector.Tool {
	return connector.Tool{
		Name:        "convert",
		Title:       "Convert units",
		Description: "Converts a value from one unit of measure to another of the same quantity. Ask list_units for the units.",
		InputSchema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["value","from","to"],"properties":{
			"value":{"type":"number"},
			"from":{"type":"string","maxLength":20,"description":"a unit, such as km"},
			"to":{"type":"string","maxLength":20,"description":"a unit of the same quantity, such as mi"}}}`),
		OutputSchema: json.RawMessage(`{"type":"object","required":["value","unit"],"properties":{
			"value":{"type":"number"},"unit":{"type":"string"}}}`),
		Annotations: json.RawMessage(`{"readOnlyHint":true,"openWorldHint":false}`),
		Handle: func(_ context.Context, args []byte) (connector.Reply, error) {
			var in struct {
				Value    float64
				From, To string
			}
			// The gateway has checked args against InputSchema, so that encoding/json, which also takes "FROM" for
			// "from", meets no such member. What the agent should read is a reply; an error would say that the
			// connector itself is at fault, and the agent would not see its text.
			if err := json.Unmarshal(args, &in); err != nil {
				return connector.Failed("the arguments are not value, from and to"), nil
			}
			from, to := units[in.From], units[in.To]
			switch {
			case from.quantity == "" || to.quantity == "":
				return connector.Failed("unknown unit; list_units names them"), nil
			case from.quantity != to.quantity:
				return connector.Failed(fmt.Sprintf("%s is a %s and %s a %s", in.From, from.quantity, in.To, to.quantity)), nil
			}
			value := from.to(to, in.Value)
			if math.IsInf(value, 0) {
				return connector.Failed("the result is too large"), nil
			}
			if err := c.add(in.From + " to " + in.To); err != nil {
				return connector.Reply{}, err
			}
			return connector.JSON(struct {
				Value float64 `json:"value"`
				Unit  string  `json:"unit"`
			}{value, in.To})
		},
	}
}

// list names the units.
func list() connector.Tool {
	return connector.Tool{
		Name:        "list_units",
		Title:       "List units",
		Description: "Lists the known units by quantity.",
		InputSchema: json.RawMessage(`{"type":"object","additionalProperties":false}`),
		Annotations: json.RawMessage(`{"readOnlyHint":true,"openWorldHint":false}`),
		Handle: func(context.Context, []byte) (connector.Reply, error) {
			return connector.JSON(byQuantity())
		},
	}
}

// popular tells what was asked for.
func popular(c *counts) connector.Tool {
	return connector.Tool{
		Name:        "popular_conversions",
		Title:       "Popular conversions",
		Description: "Tells how often each conversion was made.",
		InputSchema: json.RawMessage(`{"type":"object","additionalProperties":false}`),
		Annotations: json.RawMessage(`{"readOnlyHint":true,"openWorldHint":false}`),
		Handle: func(context.Context, []byte) (connector.Reply, error) {
			return connector.JSON(c.all())
		},
	}
}
