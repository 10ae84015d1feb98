package stdio

import (
	"errors"
	"regexp"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// kind tells the messages of a server apart.
type kind uint8

const (
	answer  kind = iota + 1 // to a request of ours
	request                 // of the server, which waits for an answer
	notice                  // of the server, which waits for none
)

// message is one line of a server, understood. Its slices alias the line.
type message struct {
	kind   kind
	id     uint64 // of an answer
	rawID  []byte // of a request: a JSON string or number
	method string // of a request or notice
	params []byte // the same; nil, an object or an array

	result, failure []byte // of an answer: one of them, an object
}

// misfit is why a line is no message, and what that makes of the call it may
// have been meant to answer.
type misfit struct {
	kind connector.Kind
	why  string
}

func (m *misfit) Error() string { return m.why }

func malformed(why string) *misfit { return &misfit{connector.Malformed, why} }

// maxRawID bounds a request's id, which is sent back to the server as it came.
const maxRawID = 256

// parseLine reads one line strictly. It accepts exactly one JSON-RPC 2.0 message
// of the forms that MCP uses: no batches, no null ids, answers only to ids as we
// write them, results and errors only as objects.
func parseLine(line []byte, l canon.Limits) (m message, bad *misfit) {
	if err := canon.Check(line, l); err != nil {
		return m, jsonMisfit(err)
	}
	if canon.KindOf(line) != '{' {
		return m, malformed("it is not an object")
	}
	var version, id, method, params []byte
	err := canon.Each(line, func(key, value []byte) error {
		switch string(key) {
		case "jsonrpc":
			version = value
		case "id":
			id = value
		case "method":
			method = value
		case "params":
			params = value
		case "result":
			m.result = value
		case "error":
			m.failure = value
		}
		return nil
	})
	if err != nil || string(version) != `"2.0"` {
		return m, malformed("it is not a JSON-RPC 2.0 message")
	}
	if method != nil {
		return m, m.asked(id, method, params)
	}
	return m, m.answered(id)
}

// asked completes a request or notice of the server.
func (m *message) asked(id, method, params []byte) *misfit {
	if m.result != nil || m.failure != nil {
		return malformed("it is both a question and an answer")
	}
	name, err := canon.Unquote(method)
	if err != nil || canon.KindOf(method) != '"' {
		return malformed("its method is not a string")
	}
	if k := canon.KindOf(params); params != nil && k != '{' && k != '[' {
		return malformed("its params are neither object nor array")
	}
	m.kind, m.method, m.rawID, m.params = notice, name, id, params
	if id == nil {
		return nil
	}
	m.kind = request
	if k := canon.KindOf(id); k != '"' && k != '0' || len(id) > maxRawID {
		return malformed("its id is not a short string or number")
	}
	return nil
}

// answered completes an answer.
func (m *message) answered(id []byte) *misfit {
	m.kind = answer
	if (m.result == nil) == (m.failure == nil) {
		return malformed("it has not exactly one of result and error")
	}
	if canon.KindOf(m.result) != '{' && canon.KindOf(m.failure) != '{' {
		return malformed("its result or error is not an object")
	}
	var ok bool
	if m.id, ok = parseID(id); !ok {
		return malformed("its id is not one that was sent")
	}
	return nil
}

// parseID reads an id exactly as we write them: digits without a leading zero.
func parseID(raw []byte) (uint64, bool) {
	if len(raw) == 0 || len(raw) > 19 || raw[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	return n, err == nil
}

// jsonMisfit names the rule a line's JSON breaks, without its bytes.
func jsonMisfit(err error) *misfit {
	syntax, ok := errors.AsType[*canon.SyntaxError](err)
	if !ok {
		return malformed("it is not JSON")
	}
	switch syntax.Kind {
	case canon.KindSize, canon.KindDepth, canon.KindValues:
		return &misfit{connector.TooLarge, "its JSON is over a bound: " + string(syntax.Kind)}
	}
	return malformed("it is not strict JSON: " + string(syntax.Kind))
}

// excerpt is how much of either end of a line guessID looks at.
const excerpt = 256

const versionMember = `"jsonrpc"\s*:\s*"2\.0"\s*`

// The ways in which the usual servers begin and end an answer.
var (
	idFirst     = regexp.MustCompile(`^\s*\{\s*(?:` + versionMember + `,\s*)?"id"\s*:\s*"?([0-9]{1,19})"?\s*,\s*(?:` + versionMember + `,\s*)?"(?:result|error)"\s*:`)
	resultFirst = regexp.MustCompile(`^\s*\{\s*(?:` + versionMember + `,\s*)?"(?:result|error)"\s*:`)
	idLast      = regexp.MustCompile(`"id"\s*:\s*"?([0-9]{1,19})"?\s*(?:,\s*` + versionMember + `)?\}\s*$`)
)

// guessID tells which call a line that is no message was meant to answer, from
// its ends alone. It is used only to let that call fail at once rather than at
// its deadline, so a server can mislead it to nobody's harm but its own.
func guessID(line []byte) (uint64, bool) {
	head, tail := line[:min(len(line), excerpt)], line[max(0, len(line)-excerpt):]
	found := idFirst.FindSubmatch(head)
	if found == nil && resultFirst.Match(head) {
		found = idLast.FindSubmatch(tail)
	}
	if found == nil {
		return 0, false
	}
	return parseID(found[1])
}
