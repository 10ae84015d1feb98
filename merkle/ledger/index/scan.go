package index

import (
	"iter"
	"math"
	"slices"
)

// test is one word of a query, in the codes of one segment.
type test struct {
	at   int
	wide bool
	want uint32
}

// filter is a query in the codes of one segment.
type filter struct {
	from, to int64 // from on, before to
	timed    bool
	sure     bool // a hit is what is wanted; else the record must be asked
	tests    []test
}

// filter translates a query. It reports false when no record of the part can be wanted.
func (p *Part) filter(q *Query) (filter, bool) {
	f := filter{from: q.From, to: q.To, sure: true}
	if f.to == 0 {
		f.to = math.MaxInt64
	}
	if !p.HoldsTime(q.From, q.To) {
		return f, false
	}
	f.timed = p.MinTime < f.from || p.MaxTime >= f.to
	for c, word := range q.words() {
		if word == "" {
			continue
		}
		c := column(c)
		code := slices.Index(p.words[c], word)
		if code < 0 {
			if !p.spilled[c] {
				return f, false
			}
			code, f.sure = int(c.other()), false
		}
		f.tests = append(f.tests, test{c.at(), int(c) < wide, uint32(code)})
	}
	return f, true
}

func (f *filter) holds(k []byte, i int) bool {
	if f.timed {
		if t := int64(le.Uint64(k[timeAt+8*i:])); t < f.from || t >= f.to {
			return false
		}
	}
	for _, t := range f.tests {
		have := uint32(0)
		if t.wide {
			have = le.Uint32(k[t.at+4*i:])
		} else {
			have = uint32(le.Uint16(k[t.at+2*i:]))
		}
		if have != t.want {
			return false
		}
	}
	return true
}

// Scan yields the records that a query may want with an index in [lo, hi), in the query's order.
func (p *Part) Scan(q *Query, lo, hi uint64) iter.Seq[Hit] {
	return func(yield func(Hit) bool) {
		lo, hi := max(lo, p.First), min(hi, p.End())
		f, ok := p.filter(q)
		if !ok || lo >= hi {
			return
		}
		step, n, left := -1, int(hi-1-p.First), hi-lo
		if q.Oldest {
			step, n = 1, int(lo-p.First)
		}
		for ; left > 0; left-- {
			if k, i := p.row(n); f.holds(k, i) && !yield(Hit{p.First + uint64(n), le.Uint32(k[offAt+4*i:]), f.sure}) {
				return
			}
			n += step
		}
	}
}
