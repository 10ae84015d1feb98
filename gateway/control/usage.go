package control

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/gateway/usage"
)

// Usage adds up what agents reported of the tokens that models took.
type Usage interface {
	Sum(ctx context.Context, tenant string, f usage.Filter) ([]usage.Total, error)
}

var _ Usage = (*usage.Register)(nil)

// noUsage stands in for a gateway that takes no reports.
type noUsage struct{}

func (noUsage) Sum(context.Context, string, usage.Filter) ([]usage.Total, error) { return nil, nil }

// usageDays is how many days are added up when nobody says which.
const usageDays = 30

// total is the tokens of one product and model on one day, as agents report them.
type total struct {
	Day        string `json:"day" doc:"UTC"`
	Product    string `json:"product"`
	Model      string `json:"model"`
	Input      int64  `json:"input"`
	Output     int64  `json:"output"`
	CacheRead  int64  `json:"cache_read"`
	CacheWrite int64  `json:"cache_write"`
	Rows       int    `json:"rows" doc:"session hours it is made of"`
}

type listUsageIn struct {
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor  string `query:"cursor" maxLength:"1024" doc:"the next of the page before"`
	From    string `query:"from" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" doc:"first UTC day; by default 29 days before the last"`
	To      string `query:"to" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" doc:"last UTC day, at most 366 in all; by default today"`
	Agent   string `query:"agent" pattern:"^agt_[0-9a-z]{1,32}$"`
	Product string `query:"product" maxLength:"256"`
	Model   string `query:"model" maxLength:"256"`
}

func (m *mounting) usage() {
	handle(m, "list-usage", func(ctx context.Context, c *call, in *listUsageIn) (*paged[total], error) {
		f := usage.Filter{From: in.From, To: in.To, Agent: in.Agent, Product: in.Product, Model: in.Model}
		last, err := time.Parse(time.DateOnly, f.To)
		if f.To == "" {
			last, err = m.api.deps.Now().UTC(), nil
			f.To = last.Format(time.DateOnly)
		}
		if f.From == "" && err == nil { // a day that is none is refused below
			f.From = last.AddDate(0, 0, 1-usageDays).Format(time.DateOnly)
		}
		totals, err := m.api.deps.Usage.Sum(ctx, c.caller.Tenant(), f)
		if err != nil {
			return nil, err
		}
		return paginate(c, listing{in.Limit, in.Cursor}, totals, totalID, shapeTotal)
	})
}

func totalID(t *usage.Total) string { return t.Day + "\x00" + t.Product + "\x00" + t.Model }

func shapeTotal(t *usage.Total) total {
	return total{t.Day, t.Product, t.Model, t.Input, t.Output, t.CacheRead, t.CacheWrite, t.Rows}
}
