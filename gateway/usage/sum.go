package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatewright/gatewright/store"
)

// Filter says what to add up. From and To are needed; the other zero fields narrow nothing.
type Filter struct {
	From, To string // UTC days, inclusive, at most maxDays
	Agent    string
	Product  string
	Model    string
}

// Total is the tokens of one product and model on one day.
type Total struct {
	Day, Product, Model                  string
	Input, Output, CacheRead, CacheWrite int64
	Rows                                 int // session hours it is made of
}

// Bounds of an answer: a year and a leap day, and 50 models on each.
const (
	maxDays   = 366
	maxTotals = 20_000
)

// Sum adds up what the tenant's agents reported, in the order of day, product and model. A session reported as a whole
// counts on the day of its first report. ErrLimit: the answer would be too long; ask for fewer days.
func (r *Register) Sum(ctx context.Context, tenant string, f Filter) ([]Total, error) {
	days, err := f.days()
	if err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	sums := map[[3]string]*Total{}
	err = r.store.View(ctx, tenant, func(tx store.Txn) error {
		for _, day := range append(days, undated) {
			err := hourTable.Scan(tx, day+"/", func(_ string, row hourRow, _ uint64) error { return f.add(sums, &row) })
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sum usage: %w", err)
	}
	out := make([]Total, 0, len(sums))
	for _, t := range sums {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Model, b.Model))
	})
	return out, nil
}

// days lists the days there are to add up.
func (f *Filter) days() ([]string, error) {
	from, err1 := time.Parse(dayForm, f.From)
	to, err2 := time.Parse(dayForm, f.To)
	if err1 != nil || err2 != nil || to.Before(from) || to.Sub(from) >= maxDays*24*time.Hour {
		return nil, fmt.Errorf("%w: want two days as YYYY-MM-DD, the first not after the second, at most %d days", ErrInvalid, maxDays)
	}
	var out []string
	for d := from; !d.After(to); d = d.AddDate(0, 0, 1) {
		out = append(out, d.Format(dayForm))
	}
	return out, nil
}

func (f *Filter) takes(row *hourRow) bool {
	return row.Day >= f.From && row.Day <= f.To &&
		(f.Agent == "" || row.Agent == f.Agent) && (f.Product == "" || row.Product == f.Product)
}

func (f *Filter) add(sums map[[3]string]*Total, row *hourRow) error {
	if !f.takes(row) {
		return nil
	}
	for model, n := range row.Models {
		if f.Model != "" && f.Model != model {
			continue
		}
		key := [3]string{row.Day, row.Product, model}
		t := sums[key]
		if t == nil {
			if len(sums) >= maxTotals {
				return fmt.Errorf("%w: more than %d sums; ask for fewer days", ErrLimit, maxTotals)
			}
			t = &Total{Day: row.Day, Product: row.Product, Model: model}
			sums[key] = t
		}
		t.Input, t.Output, t.CacheRead, t.CacheWrite = t.Input+n[0], t.Output+n[1], t.CacheRead+n[2], t.CacheWrite+n[3]
		t.Rows++
	}
	return nil
}
