package policies

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/gatewright/gatewright/merkle/canon"
)

// bill is what is left of the budget of one decision, beside the sizes that are charged for.
type bill struct {
	sizes
	left int
}

// charge takes off the most that the policies of one overlay can take.
func (b *bill) charge(f *fit) error {
	for _, form := range f.forms {
		b.left -= form.cost.of(&b.sizes)
		for i := range form.searches {
			s := &form.searches[i]
			b.left -= nodeUnits + s.pattern.units()*len(s.text(b.input))
		}
		if b.left < 0 {
			return errTooDear
		}
	}
	return nil
}

// shown shows the arguments that overlays read, each as a Json record, as long as they can be paid for.
func (b *bill) shown(args []byte, read *reads) (types.Record, error) {
	input := types.RecordMap{}
	if len(args) > 0 && canon.KindOf(args) != '{' {
		return types.Record{}, errNotObject
	}
	c := canon.NewCursor(args)
	for more := len(args) > 0 && c.Enter(); more; more = c.More() {
		key, value := c.Key(), c.Value()
		if !read.whole && !slices.Contains(read.params, string(key)) {
			continue
		}
		if b.left -= showUnits(value); b.left < 0 {
			return types.Record{}, errTooDear
		}
		r := reader{path: []string{string(key)}}
		rec, err := r.json(value)
		if err != nil {
			return types.Record{}, err
		}
		input[types.String(key)] = rec
	}
	return types.NewRecord(input), nil
}

// showUnits is what it takes to show a value: to copy and hash a text, or to sort an object as well.
func showUnits(raw []byte) int {
	switch canon.KindOf(raw) {
	case '{', '[':
		return 48 * len(raw)
	}
	return 6 * len(raw)
}
