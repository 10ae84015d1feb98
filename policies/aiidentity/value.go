package aiidentity

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// value is checked JSON at a place.
type value struct {
	raw []byte
	at  string
}

func (v value) problem(msg, hint string) Problem { return Problem{v.at, msg, hint} }

type member struct {
	name  string
	value value
}

// members lists an object's members in their order.
func (v value) members() (out []member, err error) {
	if canon.KindOf(v.raw) != '{' {
		return nil, v.problem("not an object", "write { ... }")
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	err = canon.Each(v.raw, func(key, raw []byte) error {
		out = append(out, member{string(key), value{raw, v.at + "/" + escape.Replace(string(key))}})
		return nil
	})
	return out, err
}

// object reads an object with no other members than these.
func (v value) object(known ...string) (map[string]value, error) {
	members, err := v.members()
	if err != nil {
		return nil, err
	}
	out := map[string]value{}
	for _, m := range members {
		if !slices.Contains(known, m.name) {
			return nil, m.value.problem("not a member that is known", "one of "+strings.Join(known, ", "))
		}
		out[m.name] = m.value
	}
	return out, nil
}

func (v value) text() (string, error) {
	if canon.KindOf(v.raw) != '"' {
		return "", v.problem("not a text", `write "..."`)
	}
	return canon.Unquote(v.raw)
}

// texts reads a list, each text once.
func (v value) texts(most int, read func(value) (string, error)) (out []string, err error) {
	if canon.KindOf(v.raw) != '[' {
		return nil, v.problem("not a list", "write [ ... ]")
	}
	n := 0
	err = canon.EachElement(v.raw, func(i int, raw []byte) error {
		text, err := read(value{raw, v.at + "/" + strconv.Itoa(i)})
		if n++; err == nil && n > most {
			err = v.problem(fmt.Sprintf("more than %d", most), "AI Identity takes no more")
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
		return err
	})
	return out, err
}
