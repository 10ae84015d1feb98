package index

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Named is how many records have a word.
type Named struct {
	Name  string
	Count uint64
}

// Hour is how many records have a time in an hour.
type Hour struct {
	Start int64 // unix seconds
	Count uint64
}

// Counts are the records that a query wants, added up. Each list has the most frequent words first, those of the same
// count by name, and leaves the empty word out; Hours are in order of time and leave empty hours out.
type Counts struct {
	Total       uint64
	First, Last int64 // earliest and latest time, unix microseconds; 0 when there is none
	Size        uint64
	Kept        uint64 // index of the first record that is kept: what stood before was pruned, and is not counted

	Kinds, Verdicts, Codes, Outcomes, Ops, Agents, Users, Servers, Tools []Named
	Hours                                                                []Hour
}

// maxNames bounds the different words and hours that are added up, about 50 MiB of memory; a long word counts as several.
const (
	maxNames = 1 << 18
	longWord = 256
)

// ErrCount is the answer when too many records, or words, come into question to be added up.
var ErrCount = errors.New("too much to count: narrow the time")

const hourMicros = int64(time.Hour / time.Microsecond)

// Tally adds up parts of segments.
type Tally struct {
	total       uint64
	first, last int64
	words       [columns]map[string]uint64
	hours       map[int64]*uint64
	hour        int64
	inHour      *uint64
	names       int
}

// NewTally begins at nothing.
func NewTally() *Tally {
	t := &Tally{hours: map[int64]*uint64{}}
	for c := range columns {
		t.words[c] = map[string]uint64{}
	}
	return t
}

// Add counts what a query wants of a part, from an index on. Records that have to be asked are not counted: it returns them, and the caller
// gives those that are wanted to AddRow. ErrCount says that the tally is too large.
func (t *Tally) Add(p *Part, q *Query, lo uint64) (ask []Hit, err error) {
	f, ok := p.filter(q)
	if !ok {
		return nil, nil
	}
	var spilled []column
	sum := sum{}
	for c := range columns {
		sum.codes[c] = make([]uint64, len(p.words[c]))
		if p.spilled[c] {
			spilled = append(spilled, c)
		}
	}
	for n := int(max(lo, p.First) - p.First); n < int(p.Count); n++ {
		row := le.Uint32(p.list[4*n:])
		k, i := p.blocks[row/blockRows], int(row%blockRows)
		if !f.holds(k, i) {
			continue
		}
		if !f.sure || spills(spilled, k, i) {
			ask = append(ask, Hit{p.First + uint64(n), le.Uint32(k[offAt+4*i:]), false})
			continue
		}
		t.at(int64(le.Uint64(k[timeAt+8*i:])))
		if number := row / blockRows; number != sum.number {
			sum.flush(p.blocks)
			sum.number = number
		}
		sum.rows = append(sum.rows, uint8(i))
	}
	sum.flush(p.blocks)
	for c, counts := range sum.codes {
		for code, n := range counts {
			t.add(column(c), p.words[c][code], n)
		}
	}
	return ask, t.bounded()
}

// sum counts the codes of a block's rows, one column after another.
type sum struct {
	number uint32 // of the block
	rows   []uint8
	codes  [columns][]uint64
}

func (s *sum) flush(blocks [][]byte) {
	if len(s.rows) == 0 {
		return
	}
	k := blocks[s.number]
	for c, codes := range s.codes {
		b := k[column(c).at():]
		if c < wide {
			for _, i := range s.rows {
				codes[le.Uint32(b[4*int(i):])]++
			}
			continue
		}
		for _, i := range s.rows {
			codes[le.Uint16(b[2*int(i):])]++
		}
	}
	s.rows = s.rows[:0]
}

// spills reports whether a record has a word that found no room in one of the columns.
func spills(in []column, k []byte, i int) bool {
	for _, c := range in {
		if c.get(k, i) == c.other() {
			return true
		}
	}
	return false
}

// AddRow counts one record.
func (t *Tally) AddRow(r *Row) error {
	t.at(r.Time)
	for c, word := range r.words() {
		t.add(column(c), word, 1)
	}
	return t.bounded()
}

func (t *Tally) add(c column, word string, n uint64) {
	if word == "" || n == 0 {
		return
	}
	before := len(t.words[c])
	t.words[c][word] += n
	t.names += (len(t.words[c]) - before) * (1 + len(word)/longWord)
}

// at counts a record and its hour.
func (t *Tally) at(micros int64) {
	if t.total == 0 || micros < t.first {
		t.first = micros
	}
	t.total, t.last = t.total+1, max(t.last, micros)
	if hour := micros / hourMicros; t.inHour == nil || hour != t.hour {
		t.hour, t.inHour = hour, t.hours[hour]
		if t.inHour == nil {
			t.inHour = new(uint64)
			t.hours[hour] = t.inHour
		}
	}
	*t.inHour++
}

func (t *Tally) bounded() error {
	if t.names+len(t.hours) > maxNames {
		return ErrCount
	}
	return nil
}

// Counts is what was added up.
func (t *Tally) Counts() Counts {
	out := Counts{Total: t.total, First: t.first, Last: t.last}
	for c, list := range [columns]*[]Named{
		&out.Agents, &out.Users, &out.Servers, &out.Tools, &out.Ops, &out.Codes, &out.Outcomes, &out.Verdicts, &out.Kinds,
	} {
		for word, n := range t.words[c] {
			*list = append(*list, Named{word, n})
		}
		slices.SortFunc(*list, func(a, b Named) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	}
	for hour, n := range t.hours {
		out.Hours = append(out.Hours, Hour{hour * int64(time.Hour/time.Second), *n})
	}
	slices.SortFunc(out.Hours, func(a, b Hour) int { return cmp.Compare(a.Start, b.Start) })
	return out
}
