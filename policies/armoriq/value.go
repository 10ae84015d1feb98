package armoriq

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gatewright/gatewright/merkle/canon"
)

// value is one value of a checked document, and where it stands.
type value struct {
	raw []byte
	at  string
}

func (v value) kind() byte { return canon.KindOf(v.raw) }

// problem refuses v. args that come from outside are printed with %q.
func (v value) problem(hint, format string, args ...any) error {
	return Problem{Pointer: v.at, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func (v value) child(word string) string {
	return v.at + "/" + strings.ReplaceAll(strings.ReplaceAll(word, "~", "~0"), "/", "~1")
}

// object gives the members of an object. A null counts as absent; a member that is not known refuses, since nobody can
// say what it would have taken away.
func (v value) object(known ...string) (map[string]value, error) {
	return v.collect(func(name string, m value) error {
		if !slices.Contains(known, name) {
			return m.problem("known here: "+strings.Join(known, ", "), "the member %.64q is not understood", name)
		}
		return nil
	})
}

// members gives the members of an object, of any names.
func (v value) members() (map[string]value, error) {
	return v.collect(func(string, value) error { return nil })
}

func (v value) collect(check func(name string, m value) error) (map[string]value, error) {
	if v.kind() != '{' {
		return nil, v.problem("", "an object is expected")
	}
	out := map[string]value{}
	err := canon.Each(v.raw, func(key, raw []byte) error {
		m := value{raw: raw, at: v.child(string(key))}
		if m.kind() == 'n' {
			return nil
		}
		out[string(key)] = m
		return check(string(key), m)
	})
	return out, err
}

// list gives the elements of an array.
func (v value) list(most int) ([]value, error) {
	if v.kind() != '[' {
		return nil, v.problem("", "a list is expected")
	}
	var out []value
	err := canon.EachElement(v.raw, func(i int, raw []byte) error {
		if i == most {
			return v.problem("", "the list has more than %d elements", most)
		}
		out = append(out, value{raw: raw, at: v.at + "/" + strconv.Itoa(i)})
		return nil
	})
	return out, err
}

// words gives a list of texts that is not empty.
func (v value) words() ([]string, error) {
	list, err := v.list(maxList)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, v.problem("leave the member out, or name something", "an empty list could mean everything or nothing")
	}
	out := make([]string, len(list))
	for i, e := range list {
		if out[i], err = e.word(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// word gives a text that can stand for a name: not empty, bounded, printable, without blanks at its ends.
func (v value) word() (string, error) {
	s, err := v.text()
	switch {
	case err != nil:
		return "", err
	case s == "":
		return "", v.problem("", "the text is empty")
	case s != strings.TrimFunc(s, unicode.IsSpace):
		return "", v.problem("", "%q has blanks at its ends", s)
	}
	return s, nil
}

// text gives a text that is bounded and printable, so that it can be shown to people as it is.
func (v value) text() (string, error) {
	if v.kind() != '"' {
		return "", v.problem("", "a text is expected")
	}
	s, err := canon.Unquote(v.raw)
	if err != nil {
		return "", errors.Join(v.problem("", "a text is expected"), err)
	}
	if len(s) > maxWord {
		return "", v.problem("", "the text is longer than %d bytes", maxWord)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", v.problem("", "%q has characters that do not print", s)
	}
	return s, nil
}

// whole gives a whole number, written as one.
func (v value) whole(least, most int64) (int64, error) {
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	if v.kind() != '0' || err != nil || n < least || n > most {
		return 0, v.problem("", "a whole number from %d to %d is expected", least, most)
	}
	return n, nil
}

// truth gives a boolean.
func (v value) truth() (bool, error) {
	if k := v.kind(); k != 't' && k != 'f' {
		return false, v.problem("", "true or false is expected")
	}
	return v.kind() == 't', nil
}

// note reads an optional text that names or describes, and changes nothing.
func note(members map[string]value, name string) (string, error) {
	m, ok := members[name]
	if !ok {
		return "", nil
	}
	return m.text()
}
