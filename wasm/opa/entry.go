// Package opa is what the host of a compiled Rego policy (`opa build -t wasm`, https://www.openpolicyagent.org/docs/wasm)
// knows beside the calls it makes: which of the policy's entrypoints judge what, what their results mean as a verdict, and
// the built-in functions that OPA leaves to its host. It knows nothing of WebAssembly's engine.
package opa

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Kind is what an entrypoint's result means. It is the last part of the entrypoint's name.
type Kind string

// The kinds.
const (
	Verdict  Kind = "verdict"  // the verdict of a request, as filters of our own give it
	Allow    Kind = "allow"    // true, or the request is refused
	Deny     Kind = "deny"     // a set of messages: the request is refused unless it is empty
	Response Kind = "response" // the verdict of a result
)

// Entry is one of a policy's entrypoints.
type Entry struct {
	Name string
	ID   int32
	Kind Kind
}

// Plan is which entrypoints are evaluated, in order, for a request and for a result. A result with none passes.
type Plan struct{ Request, Response []Entry }

const entryHint = `build it with -e <package>/verdict, or with -e <package>/allow or -e <package>/deny or both, ` +
	`and, to judge results, -e <package>/response`

// maxEntries bounds what is read of a policy's entrypoints and built-ins.
const maxEntries = 256

// Entrypoints reads what a policy's entrypoints function says: names with their numbers. An error ends with a hint.
func Entrypoints(text []byte) (Plan, error) {
	found := map[Kind]Entry{}
	err := numbers(text, func(name string, id int32) error {
		kind := Kind(name[strings.LastIndexByte(name, '/')+1:])
		switch _, twice := found[kind]; {
		case kind != Verdict && kind != Allow && kind != Deny && kind != Response:
			return fmt.Errorf("its entrypoint %.80q says neither verdict, allow, deny nor response: %s", name, entryHint)
		case twice:
			return fmt.Errorf("it has two entrypoints that end in %q: %s", kind, entryHint)
		}
		found[kind] = Entry{name, id, kind}
		return nil
	})
	if err != nil {
		return Plan{}, err
	}
	return arrange(found)
}

func arrange(found map[Kind]Entry) (p Plan, err error) {
	for _, kind := range []Kind{Deny, Allow, Verdict} {
		if e, ok := found[kind]; ok {
			p.Request = append(p.Request, e)
		}
	}
	if e, ok := found[Response]; ok {
		p.Response = append(p.Response, e)
	}
	_, whole := found[Verdict]
	switch {
	case len(p.Request) == 0:
		return Plan{}, errors.New("it has no entrypoint that judges requests: " + entryHint)
	case whole && len(p.Request) > 1:
		return Plan{}, errors.New("it has an entrypoint verdict beside allow or deny, and only one of these can decide: " + entryHint)
	}
	return p, nil
}

// numbers reads an object of numbers.
func numbers(text []byte, each func(name string, id int32) error) error {
	limits := canon.DefaultLimits()
	if err := canon.Check(text, limits); err != nil || canon.KindOf(text) != '{' {
		return errors.New("it does not say its entrypoints and built-ins as OPA's compiler has them do: build it with opa build -t wasm")
	}
	count := 0
	return canon.Each(text, func(key, value []byte) error {
		id, err := strconv.ParseInt(string(value), 10, 32)
		if count++; err != nil || count > maxEntries {
			return fmt.Errorf("it has more than %d entrypoints or built-ins, or no numbers for them: split the policy", maxEntries)
		}
		return each(string(key), int32(id))
	})
}

// Builtin is a function that OPA leaves to its host. args are dumped as Rego values; now is the time of the call in
// milliseconds since 1970. It returns the result as a Rego value, nil for undefined.
type Builtin struct {
	Name string
	Args int
	Run  func(now int64, args [][]byte) ([]byte, error)
}

// Builtins reads what a policy's builtins function says and returns what it needs by number. A policy that needs a built-in
// the gateway does not give is refused by the built-in's name, with a hint.
func Builtins(text []byte) (map[int32]Builtin, error) {
	needed := map[int32]Builtin{}
	err := numbers(text, func(name string, id int32) error {
		for _, b := range given {
			if b.Name == name {
				needed[id] = b
				return nil
			}
		}
		return fmt.Errorf("it needs OPA's built-in %.80q, which is not given to filters: %s", name, instead(name))
	})
	return needed, err
}

// given are the built-ins of this host. All others that a policy may use are part of OPA's compiled library.
var given = []Builtin{
	{"sprintf", 2, sprintf},
	{"time.now_ns", 0, func(now int64, _ [][]byte) ([]byte, error) { return strconv.AppendInt(nil, now*1e6, 10), nil }},
}

// hints says what to do without a built-in whose name begins so.
var hints = []struct{ prefix, text string }{
	{"http.", "a filter has no network; put what it needs into the data document"},
	{"net.lookup", "a filter has no network; put what it needs into the data document"},
	{"rand.", "a filter has no randomness, so that a decision can be repeated"},
	{"uuid.", "a filter has no randomness, so that a decision can be repeated"},
	{"opa.runtime", "a filter sees no environment; put what it needs into the data document"},
	{"time.", "compare input.now, which is in milliseconds, or time.now_ns()"},
	{"internal.print", "leave out print, or build without --debug"},
	{"trace", "leave out trace"},
	{"regex.", "use regex.match or regex.find_all_string_submatch_n, which are compiled in"},
	{"glob.", "use glob.match, which is compiled in"},
}

func instead(name string) string {
	for _, h := range hints {
		if strings.HasPrefix(name, h.prefix) {
			return h.text
		}
	}
	return "write the rule without it; the host gives sprintf and time.now_ns, and OPA compiles in strings, numbers, sets, objects, arrays, json, base64, regex.match and glob.match"
}
