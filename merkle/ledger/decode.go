package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// ParseRecord reads a leaf. Members of a newer version are passed over and a kind this version does
// not know stays as Unknown with its name, so that old readers can show and verify new records.
// What it knows must have the right type.
func ParseRecord(leaf []byte) (Record, error) {
	var r Record
	err := r.parse(leaf)
	return r, err
}

func (r *Record) parse(leaf []byte) error {
	lim := canon.DefaultLimits()
	lim.Bytes = MaxLeaf
	if err := canon.Check(leaf, lim); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if canon.KindOf(leaf) != '{' {
		return fmt.Errorf("%w: not an object", ErrRecord)
	}
	*r = Record{Step: -1}
	err := canon.Each(leaf, func(key, value []byte) error {
		if err := r.member(key, value); err != nil {
			return fmt.Errorf("%w: member %q: %w", ErrRecord, clip(string(key)), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !ValidID(r.ID) || !ValidTenant(r.Tenant) || r.KindName == "" {
		return fmt.Errorf("%w: id, tenant or kind is missing", ErrRecord)
	}
	if r.Kind != Unknown {
		r.KindName = ""
	}
	return nil
}

func (r *Record) member(key, value []byte) (err error) {
	if p := r.textMember(key); p != nil {
		*p, err = text(value)
		if p == &r.KindName {
			r.Kind = ParseKind(r.KindName)
		}
		return err
	}
	if p := r.hashMember(key); p != nil {
		return hash(p, value)
	}
	switch string(key) {
	case "after":
		r.After, err = integers(value)
	case "policies":
		r.Policies, err = texts(value)
	case "labels":
		r.Labels, err = texts(value)
	case "stages":
		r.Stages, err = stages(value)
	case "body":
		if canon.KindOf(value) != '{' {
			return fmt.Errorf("not an object")
		}
		r.Body = json.RawMessage(bytes.Clone(value))
	default:
		err = r.number(key, value)
	}
	return err
}

func (r *Record) number(key, value []byte) error {
	most := uint64(maxInteger)
	var set func(uint64)
	switch string(key) {
	case "time":
		set = func(n uint64) { r.Time = int64(n) }
	case "boot":
		set = func(n uint64) { r.Boot = n }
	case "step":
		most, set = 1<<31-1, func(n uint64) { r.Step = int32(n) }
	case "uses":
		most, set = 1<<32-1, func(n uint64) { r.Uses = uint32(n) }
	case "plan_expires":
		set = func(n uint64) { r.PlanExpires = int64(n) }
	case "status":
		set = func(n uint64) { r.Status = int(n) }
	case "micros":
		set = func(n uint64) { r.Micros = n }
	default:
		return nil // a newer version's member
	}
	n, err := integer(value, most)
	if err == nil {
		set(n)
	}
	return err
}

func (r *Record) textMember(key []byte) *string {
	switch string(key) {
	case "id":
		return &r.ID
	case "tenant":
		return &r.Tenant
	case "instance":
		return &r.Instance
	case "kind":
		return &r.KindName
	case "agent":
		return &r.Agent
	case "user":
		return &r.User
	case "key":
		return &r.Key
	case "addr":
		return &r.Addr
	case "route":
		return &r.Route
	case "op":
		return &r.Op
	case "server":
		return &r.Server
	case "tool":
		return &r.Tool
	case "plan_id":
		return &r.PlanID
	case "token":
		return &r.Token
	}
	return r.resultMember(key)
}

func (r *Record) resultMember(key []byte) *string {
	switch string(key) {
	case "verdict":
		return &r.Verdict
	case "code":
		return &r.Code
	case "detail":
		return &r.Detail
	case "of":
		return &r.Of
	case "outcome":
		return &r.Outcome
	}
	return nil
}

func (r *Record) hashMember(key []byte) *merkle.Hash {
	switch string(key) {
	case "plan":
		return &r.Plan
	case "ask":
		return &r.Ask
	case "request":
		return &r.Request
	case "reply":
		return &r.Reply
	case "bundle":
		return &r.Bundle
	case "snapshot":
		return &r.Snapshot
	}
	return nil
}

func text(value []byte) (string, error) {
	if canon.KindOf(value) != '"' {
		return "", fmt.Errorf("not a string")
	}
	return canon.Unquote(value)
}

func hash(h *merkle.Hash, value []byte) error {
	if len(value) < 2 || value[0] != '"' {
		return fmt.Errorf("not a hash")
	}
	return h.UnmarshalText(value[1 : len(value)-1])
}

func integer(value []byte, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(string(value), 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("not an integer of at most %d", most)
	}
	return n, nil
}

// list walks an array with a bound on its length.
func list(value []byte, fn func(value []byte) error) error {
	if canon.KindOf(value) != '[' {
		return fmt.Errorf("not an array")
	}
	return canon.EachElement(value, func(i int, value []byte) error {
		if i >= maxList {
			return fmt.Errorf("more than %d elements", maxList)
		}
		return fn(value)
	})
}

func texts(value []byte) (out []string, err error) {
	err = list(value, func(v []byte) error {
		s, err := text(v)
		out = append(out, s)
		return err
	})
	return out, err
}

func integers(value []byte) (out []int, err error) {
	err = list(value, func(v []byte) error {
		n, err := integer(v, MaxLeaf)
		out = append(out, int(n))
		return err
	})
	return out, err
}

func stages(value []byte) (out []StageTime, err error) {
	err = list(value, func(v []byte) error {
		s, err := stage(v)
		out = append(out, s)
		return err
	})
	return out, err
}

func stage(pair []byte) (s StageTime, err error) {
	n := 0
	err = list(pair, func(v []byte) (err error) {
		n++
		switch n {
		case 1:
			s.Name, err = text(v)
		case 2:
			var us uint64
			us, err = integer(v, 1<<32-1)
			s.Micros = uint32(us)
		default:
			err = fmt.Errorf("not a pair")
		}
		return err
	})
	if err == nil && n != 2 {
		err = fmt.Errorf("not a pair")
	}
	return s, err
}
