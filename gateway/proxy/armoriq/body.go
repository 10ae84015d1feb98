package armoriq

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// readBody checks the body strictly: JSON only, one object, no duplicate names, bounded.
func (r *request) readBody() error {
	t, _, _ := bytes.Cut(r.x.Head.ContentType, []byte(";"))
	if !strings.EqualFold(string(bytes.TrimSpace(t)), "application/json") {
		d := pipeline.Deny(pipeline.Unsupported, "Content-Type must be application/json")
		d.Hint = "send the body as application/json"
		return d
	}
	body, err := r.checked()
	if err != nil {
		return err
	}
	r.body = body
	return nil
}

// checked is the request's body when it is one strict JSON object.
func (r *request) checked() ([]byte, error) {
	body := bytes.TrimSpace(r.x.Request.Body())
	if err := canon.Check(body, r.JSON); err != nil {
		return nil, pipeline.Deny(pipeline.Malformed, err.Error()).WithReason("malformed_json")
	}
	if canon.KindOf(body) != '{' {
		return nil, malformed("", "the body must be a JSON object")
	}
	return body, nil
}

// malformed refuses a body, naming the place as a JSON pointer.
func malformed(at, text string) *pipeline.Denial {
	if at != "" {
		text = "at " + at + ": " + text
	}
	d := pipeline.Deny(pipeline.Malformed, text)
	d.Hint = "mend what the message names"
	return d
}

// fields says how the members of an object are read. Names are compared exactly. Members that are not listed are passed
// over: clients of different versions send different ones, and none of those means anything here. null counts as absent.
type fields map[string]func(raw []byte, at string) error

// readObject reads a checked object.
func readObject(raw []byte, at string, f fields) error {
	if canon.KindOf(raw) != '{' {
		return malformed(at, "must be an object")
	}
	return canon.Each(raw, func(key, value []byte) error {
		read := f[string(key)]
		if read == nil || canon.KindOf(value) == 'n' {
			return nil
		}
		return read(value, at+"/"+string(key))
	})
}

// text reads a string of at most limit bytes.
func text(dst *string, limit int) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		if canon.KindOf(raw) != '"' {
			return malformed(at, "must be a string")
		}
		s, err := canon.Unquote(raw)
		if err != nil || len(s) > limit {
			return malformed(at, "must be a string of at most "+strconv.Itoa(limit)+" bytes")
		}
		*dst = s
		return nil
	}
}

// number reads a JSON number as it is written.
func number(dst *json.Number) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		if canon.KindOf(raw) != '0' {
			return malformed(at, "must be a number")
		}
		*dst = json.Number(raw)
		return nil
	}
}

// boolean reads true or false.
func boolean(dst *bool) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		k := canon.KindOf(raw)
		if k != 't' && k != 'f' {
			return malformed(at, "must be true or false")
		}
		*dst = k == 't'
		return nil
	}
}

// value keeps a member as it is, of whatever type.
func value(dst *[]byte) func(raw []byte, at string) error {
	return func(raw []byte, _ string) error {
		*dst = raw
		return nil
	}
}

// object keeps a member that must be an object as it is.
func object(dst *[]byte) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		if canon.KindOf(raw) != '{' {
			return malformed(at, "must be an object")
		}
		*dst = raw
		return nil
	}
}

// texts reads an array of at most n strings of at most limit bytes each.
func texts(dst *[]string, n, limit int) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		return elements(raw, at, n, func(v []byte, at string) error {
			var s string
			err := text(&s, limit)(v, at)
			*dst = append(*dst, s)
			return err
		})
	}
}

// elements reads an array of at most n elements.
func elements(raw []byte, at string, n int, each func(v []byte, at string) error) error {
	if canon.KindOf(raw) != '[' {
		return malformed(at, "must be an array")
	}
	return canon.EachElement(raw, func(i int, v []byte) error {
		if i >= n {
			return malformed(at, "has more than "+strconv.Itoa(n)+" elements")
		}
		return each(v, at+"/"+strconv.Itoa(i))
	})
}

// query is one parameter of the request's URL. One that is given twice is refused: two readers could take two values.
func (r *request) query(name string) (string, error) {
	all := r.x.QueryArgs().PeekMulti(name)
	switch {
	case len(all) > 1:
		return "", malformed("", "the parameter "+name+" is given twice")
	case len(all) == 0:
		return "", nil
	case len(all[0]) > 512:
		return "", malformed("", "the parameter "+name+" is longer than 512 bytes")
	}
	return string(all[0]), nil
}
