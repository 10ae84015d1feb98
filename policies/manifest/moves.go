package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
)

// Move is what becomes of a filter in one mode when a section takes the place of another.
type Move struct {
	Name, Mode    string  // Mode is Enforce or Shadow
	Before, After *Filter // nil: it does not stand there; never both
}

// Moves lists what changes, in the order of before, and then what is new, in the order of after. Entries that say the same in other
// words are the same. Reordered tells that those which stay stand in another order, in which calls pass them then.
func Moves(before, after []Filter) (moves []Move, reordered bool) {
	last := -1
	for i := range before {
		old := before[i].Full()
		at := slices.IndexFunc(after, func(f Filter) bool { return f.Name == old.Name && f.Shadowed() == old.Shadowed() })
		if at < 0 {
			moves = append(moves, Move{old.Name, old.Mode, &old, nil})
			continue
		}
		reordered = reordered || at < last
		last = max(last, at)
		if next := after[at].Full(); !reflect.DeepEqual(old, next) {
			moves = append(moves, Move{old.Name, old.Mode, &old, &next})
		}
	}
	for i := range after {
		next := after[i].Full()
		if !slices.ContainsFunc(before, func(f Filter) bool { return f.Name == next.Name && f.Shadowed() == next.Shadowed() }) {
			moves = append(moves, Move{next.Name, next.Mode, nil, &next})
		}
	}
	return moves, reordered
}

// Full is the entry with what it leaves out, and its config without blanks.
func (f Filter) Full() Filter {
	f.Mode, f.Direction = cmp.Or(f.Mode, Enforce), cmp.Or(f.Direction, Both)
	var b bytes.Buffer
	if f.Config != nil && json.Compact(&b, f.Config) == nil {
		f.Config = b.Bytes()
	}
	return f
}
