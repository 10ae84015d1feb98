package ledger

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Skimmer reads leaves for those who read many and need little of each: it refuses exactly what ParseRecord refuses, and
// keeps of a record its ID, Time, Tenant, Instance, Boot, Kind, KindName, Plan, Step, Uses, PlanExpires, Of, Outcome, Code,
// Status and Micros, and Body for a recovery. It is not safe for concurrent use and must not be copied once used.
type Skimmer struct {
	// Words has it keep Agent, User, Op, Server, Tool and Verdict too.
	Words bool
	// Decision has it keep Ask, Bundle, Detail and Policies too; the list of Policies is used again by the next call.
	Decision bool

	r      Record
	recent [64]string         // words met before, so that they need not be made again
	last   [members]string    // of them, the one that each member had last
	next   [members + 1]uint8 // after which member which one came last, the first place for the beginning
	kind   Kind               // of the name in last
	named  string             // that kind's name
	tenant string             // a valid one
	ids    strings.Builder    // ids of some records, one behind the other
}

// Record reads a leaf. What it returns is valid until the next call, and its Body as long as the leaf; its strings stay.
func (s *Skimmer) Record(leaf []byte) (*Record, error) {
	if err := s.Read(&s.r, leaf); err != nil {
		return nil, err
	}
	return &s.r, nil
}

// Read is Record for those who keep the record: only its list of policies is used again by the next call for it. On error r
// has nothing of use.
func (s *Skimmer) Read(r *Record, leaf []byte) error {
	policies := r.Policies[:0]
	*r = Record{Step: -1}
	if s.Decision || !s.straight(r, leaf) {
		*r = Record{Step: -1, Policies: policies}
		if err := s.read(r, leaf); err != nil {
			return err
		}
		if len(r.Policies) == 0 {
			r.Policies = nil
		}
	}
	if !s.validTenant(r.Tenant) || r.KindName == "" {
		return fmt.Errorf("%w: tenant or kind is missing", ErrRecord)
	}
	if r.Kind != Recovery {
		r.Body = nil
	}
	if r.Kind != Unknown {
		r.KindName = ""
	}
	return nil
}

// read reads any leaf that is one.
func (s *Skimmer) read(r *Record, leaf []byte) error {
	lim := canon.DefaultLimits()
	lim.Bytes = MaxLeaf
	if err := canon.Check(leaf, lim); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if canon.KindOf(leaf) != '{' {
		return fmt.Errorf("%w: not an object", ErrRecord)
	}
	err := canon.Each(leaf, func(key, value []byte) error {
		if err := s.member(r, key, value); err != nil {
			return fmt.Errorf("%w: member %q: %w", ErrRecord, clip(string(key)), err)
		}
		return nil
	})
	if err == nil && !ValidID(r.ID) {
		err = fmt.Errorf("%w: id is missing", ErrRecord)
	}
	return err
}

// validTenant is ValidTenant with a memory.
func (s *Skimmer) validTenant(name string) bool {
	if name != s.tenant {
		if !ValidTenant(name) {
			return false
		}
		s.tenant = name
	}
	return name != ""
}

// kindOf is ParseKind with a memory.
func (s *Skimmer) kindOf(name string) Kind {
	if name != s.named {
		s.named, s.kind = name, ParseKind(name)
	}
	return s.kind
}

// idsKept is how many ids share memory: one that stays keeps the others.
const idsKept = 32

// id makes a string of an id.
func (s *Skimmer) id(b []byte) string {
	if s.ids.Cap()-s.ids.Len() < len(b) {
		s.ids.Reset()
		s.ids.Grow(idsKept * idLength)
	}
	from := s.ids.Len()
	s.ids.Write(b)
	return s.ids.String()[from:]
}

func (s *Skimmer) member(r *Record, key, value []byte) (err error) {
	switch string(key) {
	case "id":
		r.ID, err = text(value)
	case "of":
		r.Of, err = text(value)
	case "tenant":
		r.Tenant, err = s.word(value)
	case "instance":
		r.Instance, err = s.word(value)
	case "outcome":
		r.Outcome, err = s.word(value)
	case "code":
		r.Code, err = s.word(value)
	case "kind":
		r.KindName, err = s.word(value)
		r.Kind = ParseKind(r.KindName)
	case "agent", "user", "op", "server", "tool", "verdict":
		if err = isText(value); err == nil && s.Words {
			err = s.keep(r, string(key), value)
		}
	case "detail":
		if err = isText(value); err == nil && s.Decision {
			r.Detail, err = s.word(value)
		}
	case "key", "addr", "route", "plan_id", "token":
		err = isText(value)
	case "plan":
		err = hash(&r.Plan, value)
	case "ask", "request", "reply", "bundle", "snapshot":
		err = s.digest(r, string(key), value)
	case "after":
		err = list(value, isIndex)
	case "policies":
		err = list(value, func(value []byte) error { return s.policy(r, value) })
	case "labels":
		err = list(value, isText)
	case "stages":
		err = list(value, isStage)
	case "body":
		if canon.KindOf(value) != '{' {
			return fmt.Errorf("not an object")
		}
		r.Body = value
	default:
		err = r.number(key, value)
	}
	return err
}

// digest reads a hash and keeps it if it is wanted.
func (s *Skimmer) digest(r *Record, key string, value []byte) error {
	var h merkle.Hash
	err := hash(&h, value)
	switch {
	case !s.Decision || err != nil:
	case key == "ask":
		r.Ask = h
	case key == "bundle":
		r.Bundle = h
	}
	return err
}

func (s *Skimmer) policy(r *Record, value []byte) error {
	if err := isText(value); err != nil || !s.Decision {
		return err
	}
	w, err := s.word(value)
	r.Policies = append(r.Policies, w)
	return err
}

// word is text that is likely to come again.
func (s *Skimmer) word(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", fmt.Errorf("not a string")
	}
	n := uint(len(value))
	slot := &s.recent[(uint(value[n-2])+uint(value[n/2])*5+n*9)%uint(len(s.recent))]
	if *slot == string(value[1:n-1]) { // without an escape in it, see below
		return *slot, nil
	}
	w, err := text(value)
	if err == nil && len(w) == len(value)-2 && len(w) <= maxWordKept {
		*slot = w
	}
	return w, err
}

func (s *Skimmer) keep(r *Record, key string, value []byte) error {
	w, err := s.word(value)
	switch key {
	case "agent":
		r.Agent = w
	case "user":
		r.User = w
	case "op":
		r.Op = w
	case "server":
		r.Server = w
	case "tool":
		r.Tool = w
	default:
		r.Verdict = w
	}
	return err
}

// maxWordKept is the longest word that is kept, in bytes: names and codes are shorter.
const maxWordKept = 64

func isText(value []byte) error {
	if canon.KindOf(value) != '"' {
		return fmt.Errorf("not a string")
	}
	return nil
}

func isIndex(value []byte) error {
	_, err := integer(value, MaxLeaf)
	return err
}

func isStage(pair []byte) error {
	n := 0
	err := list(pair, func(v []byte) error {
		switch n++; n {
		case 1:
			return isText(v)
		case 2:
			_, err := integer(v, 1<<32-1)
			return err
		}
		return fmt.Errorf("not a pair")
	})
	if err == nil && n != 2 {
		err = fmt.Errorf("not a pair")
	}
	return err
}
