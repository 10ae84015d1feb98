package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// order is one row of the table. Prices are whole cents, so that comparing
// them is exact.
type order struct {
	ID       int
	Customer string
	Item     string
	Quantity int
	Cents    int
	Status   string
	Day      string
}

var orders = []order{
	{1001, "Ada", "lamp", 2, 7800, "shipped", "2026-01-05"},
	{1002, "Grace", "desk", 1, 24900, "shipped", "2026-01-09"},
	{1003, "Alan", "chair", 4, 51600, "returned", "2026-01-12"},
	{1004, "Edsger", "lamp", 1, 3900, "shipped", "2026-01-20"},
	{1005, "Barbara", "desk", 2, 49800, "open", "2026-02-02"},
	{1006, "Ada", "chair", 1, 12900, "shipped", "2026-02-03"},
	{1007, "Donald", "lamp", 10, 39000, "open", "2026-02-11"},
	{1008, "Grace", "chair", 2, 25800, "shipped", "2026-02-15"},
	{1009, "Tony", "desk", 1, 24900, "cancelled", "2026-02-21"},
	{1010, "Ada", "desk", 1, 24900, "open", "2026-03-01"},
	{1011, "Alan", "lamp", 3, 11700, "open", "2026-03-04"},
	{1012, "Leslie", "chair", 6, 77400, "open", "2026-03-09"},
}

var orderColumns = []string{"id", "customer", "item", "quantity", "cents", "status", "day"}

func (o *order) column(name string) any {
	switch name {
	case "id":
		return float64(o.ID)
	case "customer":
		return o.Customer
	case "item":
		return o.Item
	case "quantity":
		return float64(o.Quantity)
	case "cents":
		return float64(o.Cents)
	case "status":
		return o.Status
	default:
		return o.Day
	}
}

type condition struct {
	Column string `json:"column"`
	Op     string `json:"op"`
	Value  any    `json:"value"`
}

type tableQuery struct {
	Table      string      `json:"table"`
	Columns    []string    `json:"columns,omitempty"`
	Where      []condition `json:"where,omitempty"`
	OrderBy    string      `json:"order_by,omitempty"`
	Descending bool        `json:"descending,omitempty"`
	Limit      int         `json:"limit,omitempty"`
}

type tableRows struct {
	Rows  []map[string]any `json:"rows"`
	Total int              `json:"total"`
}

const columnSchema = `{"type":"string","enum":["id","customer","item","quantity","cents","status","day"]}`

func table() []tool {
	return []tool{
		describe("table_query", "Query a table",
			"Read rows of the orders table. All conditions must hold; text compares exactly, contains looks inside text.",
			effect{readOnly: true, idempotent: true}, `{"type":"object","required":["table"],"additionalProperties":false,"properties":{
			"table":{"type":"string","enum":["orders"]},
			"columns":{"type":"array","minItems":1,"maxItems":7,"items":`+columnSchema+`},
			"where":{"type":"array","maxItems":8,"items":{"type":"object","required":["column","op","value"],"additionalProperties":false,"properties":{
				"column":`+columnSchema+`,"op":{"type":"string","enum":["eq","ne","lt","le","gt","ge","contains"]},
				"value":{"anyOf":[{"type":"string","maxLength":100},{"type":"number"}]}}}},
			"order_by":`+columnSchema+`,
			"descending":{"type":"boolean","default":false},
			"limit":{"type":"integer","minimum":1,"maximum":50,"default":20}}}`,
			`{"type":"object","required":["rows","total"],"additionalProperties":false,"properties":{
			"rows":{"type":"array","items":{"type":"object"}},"total":{"type":"integer","minimum":0}}}`, queryOrders),
	}
}

func queryOrders(_ context.Context, in tableQuery) (tableRows, error) {
	var found []*order
	for i := range orders {
		ok, err := matches(&orders[i], in.Where)
		if err != nil {
			return tableRows{}, err
		}
		if ok {
			found = append(found, &orders[i])
		}
	}
	if in.OrderBy != "" {
		slices.SortStableFunc(found, func(a, b *order) int {
			d := compare(a.column(in.OrderBy), b.column(in.OrderBy))
			if in.Descending {
				return -d
			}
			return d
		})
	}
	return project(found, in), nil
}

// project cuts rows and columns down to what was asked for.
func project(found []*order, in tableQuery) tableRows {
	out := tableRows{Rows: []map[string]any{}, Total: len(found)}
	if in.Limit == 0 {
		in.Limit = 20
	}
	if len(in.Columns) == 0 {
		in.Columns = orderColumns
	}
	for _, o := range found[:min(len(found), in.Limit)] {
		row := make(map[string]any, len(in.Columns))
		for _, c := range in.Columns {
			row[c] = o.column(c)
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func matches(o *order, where []condition) (bool, error) {
	for _, w := range where {
		ok, err := w.holds(o.column(w.Column))
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (w condition) holds(have any) (bool, error) {
	_, wantText := w.Value.(string)
	text, haveText := have.(string)
	if wantText != haveText {
		return false, fmt.Errorf("column %s and its value are of different types", w.Column)
	}
	if w.Op == "contains" {
		if !haveText {
			return false, fmt.Errorf("column %s is not text", w.Column)
		}
		return strings.Contains(text, w.Value.(string)), nil
	}
	d := compare(have, w.Value)
	switch w.Op {
	case "eq":
		return d == 0, nil
	case "ne":
		return d != 0, nil
	case "lt":
		return d < 0, nil
	case "le":
		return d <= 0, nil
	case "gt":
		return d > 0, nil
	default:
		return d >= 0, nil
	}
}

// compare orders two values of the same type, text or number.
func compare(a, b any) int {
	if s, ok := a.(string); ok {
		t, _ := b.(string)
		return strings.Compare(s, t)
	}
	x, _ := a.(float64)
	y, _ := b.(float64)
	return cmp.Compare(x, y)
}
