package compare_test

import (
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies/compare"
)

// texts is a batch as the ledger gives it: canonical JSON, opened.
type texts struct{ asks, args [][]byte }

func (b texts) Len() int { return len(b.asks) }

func (b texts) Read(i int, p *compare.Parser) (compare.RecordedAsk, error) {
	r, err := p.Parse(b.asks[i], b.args[i])
	r.Verdict = compare.Allow
	return r, err
}

// BenchmarkDiff replays recorded questions, parsed anew each, against two bundles of a thousand policies. ns/op is the time of one.
func BenchmarkDiff(b *testing.B) {
	var text strings.Builder
	text.WriteString(all)
	for i := range 1000 {
		fmt.Fprintf(&text, "@id(\"p%d\") forbid (principal in Team::\"t%d\", action == Action::\"sql___query\", resource) when { context.input.table == \"t%d\" };\n", i, i%200, i)
	}
	old, next := engine(b, text.String()), engine(b, text.String()+noSalary[len(all):])
	var batch texts
	for i := range 512 {
		table := "orders"
		if i%100 == 1 {
			table = "salaries"
		}
		batch.asks, batch.args = append(batch.asks, sealed(i, "sql/query")), append(batch.args, []byte(`{"limit":10,"table":"`+table+`"}`))
	}
	b.ResetTimer()
	left := b.N
	feed := iter.Seq2[compare.Batch, error](func(yield func(compare.Batch, error) bool) {
		for ; left > 0; left -= 512 {
			n := min(left, 512)
			if !yield(texts{batch.asks[:n], batch.args[:n]}, nil) {
				return
			}
		}
	})
	if _, err := compare.Diff(b.Context(), old, next, feed, compare.Options{}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "asks/s")
}
