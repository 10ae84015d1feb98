// Package cedartest writes policy sets, the entities they speak of, and questions to put to them: for tests that hold one
// way of evaluating Cedar against another. All of it follows from a seed, or from the bytes of a fuzzer.
//
// There are two sorts of worlds. A gateway's has the entities, actions and context of the default schema, with tools whose
// input is typed by ToolActions. The other is a document store with namespaces, nested groups, tags and attributes that are
// there or are not. In both, most of what is written fits its types, and some does not: a policy must fail the same way
// everywhere.
package cedartest

import (
	"math/rand/v2"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Case is a policy set over a world, and questions.
type Case struct {
	Gateway  bool   // else of the document store
	Policies string // Cedar text
	Entities types.EntityMap
	Requests []cedar.Request
}

// Source is where choices come from.
type Source struct {
	data []byte
	rand *rand.Rand
}

// NewSource chooses by a seed.
func NewSource(seed, stream uint64) *Source {
	return &Source{rand: rand.New(rand.NewPCG(seed, stream))} //nolint:gosec // tests must repeat
}

// FromBytes chooses by data, one byte for each choice, and by a fixed seed after its end.
func FromBytes(data []byte) *Source {
	s := NewSource(1, uint64(len(data)))
	s.data = data
	return s
}

// n gives 0 to below-1.
func (s *Source) n(below int) int {
	if len(s.data) == 0 {
		return s.rand.IntN(below)
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % below
}

// one says yes once in so many times.
func (s *Source) one(in int) bool { return s.n(in) == 0 }

func pick[T any](s *Source, from ...T) T { return from[s.n(len(from))] }

// Generate writes a case with so many requests.
func Generate(s *Source, requests int) Case {
	w := documents
	c := Case{Gateway: s.n(2) == 0}
	if c.Gateway {
		w = gateway
	}
	c.Entities = w.entities(s)
	g := &writer{Source: s, words: w.words}
	var text strings.Builder
	for range pick(s, 1, 2, 3, 5, 8, 13, 30) {
		g.policy(&text)
	}
	c.Policies = text.String()
	for range requests {
		c.Requests = append(c.Requests, w.request(s))
	}
	return c
}

// kind is the type of an expression.
type kind byte

const (
	boolean  kind = 'b'
	long     kind = 'l'
	text     kind = 's'
	texts    kind = 'S'
	entity   kind = 'e'
	entities kind = 'E'
	address  kind = 'i'
	decimal  kind = 'd'
	moment   kind = 't'
	span     kind = 'u'
	record   kind = 'r'
)

// place is something that can be read, as Cedar has it.
type place struct {
	path string // principal.name
	kind kind
}

// words are what policies of a world can say.
type words struct {
	principals, actions, resources []string // scopes
	places                         []place
	ids                            []string // entities
	types                          []string
	attributes                     []string
	tags                           bool
}

// sort is a sort of worlds.
type sort struct {
	words    words
	entities func(*Source) types.EntityMap
	request  func(*Source) cedar.Request
}
