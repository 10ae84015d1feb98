package catalogue

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// A Violation says which rule of a schema arguments break, and where. It never
// holds the offending value.
type Violation struct {
	Whole   string // what is judged; "" is the arguments
	Pointer string // RFC 6901, into the whole; "" is all of it
	Rule    string // the keyword and, where short, its limit: "maxLength 200"
}

func (v *Violation) Error() string {
	at := v.Pointer
	switch {
	case v.Whole != "":
		at = v.Whole + at
	case at == "":
		at = "the arguments"
	}
	return at + " breaks " + v.Rule
}

// schema is a compiled inputSchema. Every schema is compiled by the library,
// which also checks it against its metaschema; those made of the usual keywords
// are also compiled into nodes, which read raw JSON without allocating. format
// is an annotation, as 2020-12 has it; drafts that assert it are left to the
// library.
type schema struct {
	fast *node // nil when only the library can judge
	slow *jsonschema.Schema
}

// schemaURL is what the library calls the schema in hand; nothing is at it.
const schemaURL = "urn:gatewright:schema"

// Bounds of a regular expression: bytes of its text, and instructions of its
// program. RE2 matches in time linear in both the program and the value, and a
// few repetitions of repetitions make a program of millions of instructions.
const (
	maxPattern     = 1000
	maxPatternCost = 2000
)

// errRemote refuses whatever a schema refers to outside of itself: fetching it
// would reach where the schema's author says, and what it says could change.
var errRemote = errors.New("it refers to a schema outside of itself")

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errRemote }

// compileSchema compiles checked JSON. maxDepth is how deep arguments may nest.
func compileSchema(raw []byte, maxDepth int) (*schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, schemaFault(err)
	}
	slow, err := c.Compile(schemaURL)
	if err != nil {
		return nil, schemaFault(err)
	}
	if err := affordable(slow, maxDepth); err != nil {
		return nil, err
	}
	s := &schema{slow: slow}
	if fast, ok := compileNode(raw); ok {
		s.fast = fast
	}
	return s, nil
}

func compilePattern(text string) (jsonschema.Regexp, error) {
	return boundedPattern(text)
}

// boundedPattern compiles a pattern whose program is small enough to be run on
// whatever an agent sends.
func boundedPattern(text string) (*regexp.Regexp, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("pattern is longer than %d bytes", maxPattern)
	}
	cost, err := intent.PatternCost(text)
	if err != nil {
		return nil, err
	}
	if cost > maxPatternCost {
		return nil, fmt.Errorf("pattern is too large once its repetitions are expanded")
	}
	return regexp.Compile(text)
}

// schemaFault puts the library's many-lined errors into one short line.
func schemaFault(err error) error {
	if errors.Is(err, errRemote) {
		return errRemote
	}
	if _, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return errRemote
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "..."
	}
	return errors.New("it is not a valid JSON Schema: " + text)
}

// check judges checked JSON. The error is a *Violation.
func (s *schema) check(args []byte) error {
	if s.fast != nil {
		var c checker
		if r := canon.NewCursor(args); c.value(s.fast, &r) {
			return nil
		}
		return &Violation{Pointer: c.pointer, Rule: c.rule}
	}
	return s.checkSlow(args)
}

// checkSlow asks the library, which wants a tree.
func (s *schema) checkSlow(args []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
	if err != nil {
		return &Violation{Rule: "JSON"}
	}
	err = s.slow.Validate(doc)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return &Violation{Rule: "schema"}
	}
	for len(invalid.Causes) > 0 {
		invalid = invalid.Causes[0] // one leaf is enough to act on
	}
	var pointer []byte
	for _, token := range invalid.InstanceLocation {
		pointer = appendToken(pointer, []byte(token))
	}
	rule := "false schema"
	if path := invalid.ErrorKind.KeywordPath(); len(path) > 0 {
		rule = path[0]
	}
	return &Violation{Pointer: string(pointer), Rule: rule}
}

// appendToken appends one step of a JSON pointer (RFC 6901, 3), cut short when
// the key is very long.
func appendToken(dst, key []byte) []byte {
	dst = append(dst, '/')
	for _, b := range bytes.ToValidUTF8(key[:min(len(key), 64)], nil) {
		switch b {
		case '~':
			dst = append(dst, "~0"...)
		case '/':
			dst = append(dst, "~1"...)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// argumentLimits is what arguments must have passed before check.
func argumentLimits() canon.Limits { return canon.DefaultLimits() }
