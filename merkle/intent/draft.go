package intent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
)

// ParseDraft reads what an agent sends. Unknown members are refused: a misspelled constraint would
// otherwise silently allow more than its author meant. Errors name the place as a JSON pointer.
//
//	{"goal": "...", "metadata": {...}, "steps": [{
//	  "op": "tools/call", "server": "files", "tool": "read",
//	  "args": {"path": "/a"}, "where": {"limit": {"min": 1, "max": 10, "optional": true}},
//	  "additional": false, "uses": 1, "after": [], "redactable": ["/path"]}]}
func ParseDraft(b []byte, lim Limits) (Plan, error) {
	if err := canon.Check(b, canon.Limits{Bytes: lim.Bytes, Depth: lim.Depth, Values: lim.Values}); err != nil {
		return Plan{}, invalid("", fmt.Sprintf("draft is not strict JSON: %v", err), "send RFC 8259 JSON, UTF-8, without doubled names, within the size limits")
	}
	var p Plan
	err := members(trim(b), "", func(key string, v []byte, at string) error {
		switch key {
		case "goal":
			return readText(&p.Goal, v, at, lim.Goal)
		case "metadata":
			return readMetadata(&p.Metadata, v, at, lim)
		case "steps":
			return p.readSteps(v, at, lim, readDraftStep)
		}
		return invalid(at, "unknown member", "allowed: goal, metadata, steps")
	})
	if err != nil {
		return Plan{}, err
	}
	if err := p.check(); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// ParsePlan reads what AppendJSON writes, in any spelling of the same canonical form: JSON on its way to
// a client may be spaced or escaped anew, and hashes are always taken of the canonical form.
func ParsePlan(b []byte) (*Plan, error) {
	lim := hardLimits()
	canonical, err := canon.AppendCanonical(nil, b, wholePlan())
	if err != nil {
		return nil, invalid("", fmt.Sprintf("stored plan is not strict JSON: %v", err), "")
	}
	var p Plan
	typ := ""
	err = members(canonical, "", func(key string, v []byte, at string) error {
		switch key {
		case "agent":
			return readText(&p.Agent, v, at, maxName)
		case "goal":
			return readText(&p.Goal, v, at, lim.Goal)
		case "metadata":
			return readMetadata(&p.Metadata, v, at, lim)
		case "nonce":
			return readText(&p.Nonce, v, at, maxName)
		case "steps":
			return p.readSteps(v, at, lim, readStoredStep)
		case "tenant":
			return readText(&p.Tenant, v, at, maxName)
		case "typ":
			return readText(&typ, v, at, maxName)
		case "user":
			return readText(&p.User, v, at, maxName)
		}
		return invalid(at, "unknown member", "")
	})
	if err != nil {
		return nil, err
	}
	if typ != planType {
		return nil, invalid("/typ", "is not "+planType, "")
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(p.AppendJSON(nil), canonical) {
		return nil, invalid("", "stored plan does not read back as it was written", "")
	}
	return &p, nil
}

type stepReader func(s *Step, raw []byte, at string, lim Limits) error

func (p *Plan) readSteps(raw []byte, at string, lim Limits, read stepReader) error {
	return elements(raw, at, min(lim.Steps, MaxSteps), func(v []byte, at string) error {
		var s Step
		if err := read(&s, v, at, lim); err != nil {
			return err
		}
		p.Steps = append(p.Steps, s)
		return nil
	})
}

func readDraftStep(s *Step, raw []byte, at string, lim Limits) error {
	s.Op, s.Uses = defaultOp, 1
	err := members(raw, at, func(key string, v []byte, at string) error {
		switch key {
		case "args":
			return s.Args.readLiterals(v, at, lim)
		case "where":
			return s.Args.readParams(v, at, lim)
		case "additional":
			return readBool(&s.Args.Additional, v, at)
		case "redactable":
			return readTexts(&s.Args.Redactable, v, at, maxPointers)
		case "op", "server", "tool", "uses", "after":
			return s.readShared(key, v, at)
		}
		return invalid(at, "unknown member", "allowed: op, server, tool, args, where, additional, uses, after, redactable")
	})
	if err != nil {
		return err
	}
	if s.Server == "" || s.Tool == "" {
		return invalid(at, "a step needs server and tool", "")
	}
	return nil
}

func readStoredStep(s *Step, raw []byte, at string, lim Limits) error {
	return members(raw, at, func(key string, v []byte, at string) (err error) {
		switch key {
		case "args":
			s.Args, err = parseArgs(v, at, lim)
			return err
		case "local":
			return readBool(&s.Local, v, at)
		case "op", "server", "tool", "uses", "after", "salt", "schema":
			return s.readShared(key, v, at)
		}
		return invalid(at, "unknown member", "")
	})
}

// readShared reads the members that mean the same in a draft, a stored plan and a leaf.
func (s *Step) readShared(key string, v []byte, at string) error {
	switch key {
	case "op":
		return readText(&s.Op, v, at, maxOp)
	case "server":
		return readText(&s.Server, v, at, maxName)
	case "tool":
		return readText(&s.Tool, v, at, maxTool)
	case "salt":
		return readText(&s.Salt, v, at, maxName)
	case "schema":
		var text string
		if err := readText(&text, v, at, 64); err != nil {
			return err
		}
		if err := s.Schema.UnmarshalText([]byte(text)); err != nil {
			return invalid(at, "must be 64 lower-case hex digits", "")
		}
		return nil
	case "uses":
		n, err := readInt(v, at, 1<<32-1)
		s.Uses = uint32(n) //nolint:gosec // bounded by readInt
		return err
	}
	return elements(v, at, maxAfter, func(v []byte, at string) error {
		n, err := readInt(v, at, MaxSteps)
		s.After = append(s.After, int(n))
		return err
	})
}

// members calls fn for each member of a checked object with the member's own pointer.
func members(raw []byte, at string, fn func(key string, v []byte, at string) error) error {
	if canon.KindOf(raw) != '{' {
		return invalid(at, "must be an object", "")
	}
	return canon.Each(raw, func(k, v []byte) error {
		key := string(k)
		return fn(key, v, at+"/"+escapeToken(key))
	})
}

// elements calls fn for each element of a checked array of at most limit elements.
func elements(raw []byte, at string, limit int, fn func(v []byte, at string) error) error {
	if canon.KindOf(raw) != '[' {
		return invalid(at, "must be an array", "")
	}
	return canon.EachElement(raw, func(i int, v []byte) error {
		if i >= limit {
			return invalid(at, "more than "+strconv.Itoa(limit)+" elements", "")
		}
		return fn(v, at+"/"+strconv.Itoa(i))
	})
}

func readText(dst *string, raw []byte, at string, limit int) error {
	if canon.KindOf(raw) != '"' {
		return invalid(at, "must be a string", "")
	}
	s, err := canon.Unquote(raw)
	if err != nil {
		return invalid(at, "is not a JSON string", "")
	}
	if len(s) > limit {
		return invalid(at, "longer than "+strconv.Itoa(limit)+" bytes", "")
	}
	*dst = s
	return nil
}

func readTexts(dst *[]string, raw []byte, at string, limit int) error {
	return elements(raw, at, limit, func(v []byte, at string) error {
		var s string
		if err := readText(&s, v, at, maxTool); err != nil {
			return err
		}
		*dst = append(*dst, s)
		return nil
	})
}

func readBool(dst *bool, raw []byte, at string) error {
	k := canon.KindOf(raw)
	if k != 't' && k != 'f' {
		return invalid(at, "must be true or false", "")
	}
	*dst = k == 't'
	return nil
}

// readInt reads a plain non-negative integer, without fraction or exponent, up to limit.
func readInt(raw []byte, at string, limit int64) (int64, error) {
	n, ok := plainInt(raw)
	if !ok || n > limit {
		return 0, invalid(at, "must be a whole number from 0 to "+strconv.FormatInt(limit, 10), "")
	}
	return n, nil
}

// plainInt reads up to 15 decimal digits, which always fit a double and an int64.
func plainInt(raw []byte) (int64, bool) {
	if len(raw) == 0 || len(raw) > 15 || raw[0] == '0' && len(raw) > 1 {
		return 0, false
	}
	var n int64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func readNumber(dst **json.Number, raw []byte, at string) error {
	if canon.KindOf(raw) != '0' {
		return invalid(at, "must be a number", "")
	}
	b, err := canon.AppendCanonical(nil, raw, canon.DefaultLimits())
	if err != nil {
		return invalid(at, "is not an I-JSON number", "")
	}
	n := json.Number(b)
	*dst = &n
	return nil
}

// readValue keeps any JSON value in canonical form.
func readValue(dst *json.RawMessage, raw []byte, at string) error {
	b, err := canon.AppendCanonical(nil, raw, wholePlan())
	if err != nil {
		return invalid(at, "is not strict JSON", "")
	}
	*dst = b
	return nil
}

func readEnum(dst *[]json.RawMessage, raw []byte, at string, limit int) error {
	err := elements(raw, at, limit, func(v []byte, at string) error {
		var b json.RawMessage
		if err := readValue(&b, v, at); err != nil {
			return err
		}
		*dst = append(*dst, b)
		return nil
	})
	if err == nil && len(*dst) == 0 {
		return invalid(at, "needs at least one value", "")
	}
	return err
}

func readMetadata(dst *json.RawMessage, raw []byte, at string, lim Limits) error {
	if canon.KindOf(raw) != '{' {
		return invalid(at, "must be an object", "")
	}
	if len(raw) > lim.Metadata {
		return invalid(at, "longer than "+strconv.Itoa(lim.Metadata)+" bytes", "")
	}
	return readValue(dst, raw, at)
}

// trim cuts JSON white space, and only that, off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
