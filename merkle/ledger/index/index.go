// Package index is the column index of one segment of the ledger's log: for each record its place, its time, marks of
// its id and of the id it names, and a code for each word that people search by. It is derived: what it says can be had
// from the segment again, and is, when the index is missing, damaged, of another segment or of another version.
//
// Answers are exact. A word's code stands for that word and no other; a word that found no room in the dictionary is
// told as such, and the record itself must be asked. Marks of ids are hashes: the record must be asked, too.
//
// A file is believed only under a MAC whose key comes from the ledger's signing key: who can write to the ledger's folder,
// and no more, cannot make an index that hides records from a search. The index proves nothing all the same; the log does.
package index

import (
	"encoding/binary"
	"errors"
	"math"
)

// Row is what the index takes of one record.
type Row struct {
	Tenant string
	Seq    uint64 // index in the tenant's tree
	Off    uint32 // where the record's frame starts in the segment
	Time   int64  // unix microseconds
	ID, Of string

	Agent, User, Server, Tool, Op, Code, Outcome, Verdict, Kind string
}

// column is one of the words of a record that can be searched by.
type column uint8

const (
	colAgent column = iota
	colUser
	colServer
	colTool
	colOp
	colCode
	colOutcome
	colVerdict
	colKind
	columns
)

// wide is how many of the columns have codes of four bytes, which may be many; the others have two.
const wide = int(colOp)

func (r *Row) words() [columns]string {
	return [columns]string{r.Agent, r.User, r.Server, r.Tool, r.Op, r.Code, r.Outcome, r.Verdict, r.Kind}
}

// A block holds the columns of blockRows records, one after another: offsets, times, marks of ids, marks of the ids they
// name, and the codes. It has the same form in memory and in a file, and is searched as it lies.
const (
	blockRows  = 256
	offAt      = 0
	timeAt     = offAt + 4*blockRows
	idAt       = timeAt + 8*blockRows
	ofAt       = idAt + 4*blockRows
	wideAt     = ofAt + 4*blockRows
	narrowAt   = wideAt + wide*4*blockRows
	blockBytes = narrowAt + (int(columns)-wide)*2*blockRows
)

var le = binary.LittleEndian

// at is where a column starts in a block.
func (c column) at() int {
	if int(c) < wide {
		return wideAt + int(c)*4*blockRows
	}
	return narrowAt + (int(c)-wide)*2*blockRows
}

// Codes: 0 is the empty word, other a word that found no room.
const (
	otherWide   = math.MaxUint32
	otherNarrow = math.MaxUint16
)

func (c column) other() uint32 {
	if int(c) < wide {
		return otherWide
	}
	return otherNarrow
}

func (c column) get(block []byte, i int) uint32 {
	if int(c) < wide {
		return le.Uint32(block[c.at()+4*i:])
	}
	return uint32(le.Uint16(block[c.at()+2*i:]))
}

// Range is one tenant's part of a segment, in what is kept of it in memory for good. A span of times, or of ids, holds
// all that are there, whatever the clock did.
type Range struct {
	Tenant           string
	First, Count     uint64 // index of the first record, and how many
	MinTime, MaxTime int64  // unix microseconds
	MinID, MaxID     uint64 // moments of the ids
	MinOf, MaxOf     uint64 // moments of the ids that are named; MinOf is above MaxOf when none is
}

// End is the index after the last record.
func (r *Range) End() uint64 { return r.First + r.Count }

// idLength and prefix are those of record ids: rec_ and 26 characters that sort by time.
const (
	idLength = 30
	idPrefix = 4
)

// Moment is the start of an id, which is 40 of its 48 bits of milliseconds: a quarter of a second.
func Moment(id string) uint64 {
	if len(id) != idLength {
		return 0
	}
	return be64(id[idPrefix:])
}

func be64(s string) uint64 {
	_ = s[7]
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

// mark folds the random end of an id into 1 to 2^32-1; 0 is for what is no id.
func mark(id string) uint32 {
	if len(id) != idLength {
		return 0
	}
	const golden = 0x9e3779b97f4a7c15 // 2^64 / golden ratio: spreads the low bits of all eight bytes upwards
	return max(1, uint32(be64(id[idLength-8:])*golden>>32))
}

// HoldsID reports whether a record with this id may be in the range.
func (r *Range) HoldsID(id string) bool {
	m := Moment(id)
	return r.MinID <= m && m <= r.MaxID
}

// HoldsOf reports whether a record that names this id may be in the range.
func (r *Range) HoldsOf(id string) bool {
	m := Moment(id)
	return r.MinOf <= m && m <= r.MaxOf
}

// HoldsTime reports whether a record of a time may be in the range, from on and before to; to 0 is no end.
func (r *Range) HoldsTime(from, to int64) bool {
	return r.MaxTime >= from && (to == 0 || r.MinTime < to)
}

func (r *Range) widen(row *Row) {
	id := Moment(row.ID)
	if r.Count == 0 {
		r.First, r.MinTime, r.MaxTime, r.MinID, r.MaxID = row.Seq, row.Time, row.Time, id, id
		r.MinOf, r.MaxOf = math.MaxUint64, 0
	}
	r.MinTime, r.MaxTime = min(r.MinTime, row.Time), max(r.MaxTime, row.Time)
	r.MinID, r.MaxID = min(r.MinID, id), max(r.MaxID, id)
	if len(row.Of) == idLength {
		of := Moment(row.Of)
		r.MinOf, r.MaxOf = min(r.MinOf, of), max(r.MaxOf, of)
	}
	r.Count++
}

// Errors of an index that is of no use; each means that it is made again from its segment.
var (
	ErrDamaged = errors.New("index is damaged")
	ErrForeign = errors.New("index is of another segment")
	ErrVersion = errors.New("index is of another version")
)
