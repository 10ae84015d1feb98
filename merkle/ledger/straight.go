package ledger

import (
	"encoding/binary"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// A leaf as AppendJSON writes it is read straight through, each byte once: its members are known, stand in their order,
// which leaves no room for one twice, and have nothing between them. What is otherwise in any way is left to the readers of
// package canon, which judge it: what is here only accepts, and nothing that they refuse.

// The members of a leaf in their order.
const (
	mAddr = iota
	mAfter
	mAgent
	mAsk
	mBody
	mBoot
	mBundle
	mCode
	mDetail
	mID
	mInstance
	mKey
	mKind
	mLabels
	mMicros
	mOf
	mOp
	mOutcome
	mPlan
	mPlanExpires
	mPlanID
	mPolicies
	mReply
	mRequest
	mRoute
	mServer
	mSnapshot
	mStages
	mStatus
	mStep
	mTenant
	mTime
	mToken
	mTool
	mUser
	mUses
	mV
	mVerdict
	members
)

var memberNames = [members]string{
	"addr", "after", "agent", "ask", "body", "boot", "bundle", "code", "detail", "id", "instance", "key", "kind", "labels", "micros", "of", "op",
	"outcome", "plan", "plan_expires", "plan_id", "policies", "reply", "request", "route", "server", "snapshot", "stages", "status", "step",
	"tenant", "time", "token", "tool", "user", "uses", "v", "verdict",
}

// opening is how a member begins, as far as it fits a word: its name behind the first quote, the other quote and the colon.
type opening struct {
	word, mask uint64
	text       string
}

var openings = func() (out [members]opening) {
	for m, name := range memberNames {
		o := opening{text: name + `":`}
		for i := range min(len(o.text), 8) {
			o.word |= uint64(o.text[i]) << (8 * i)
			o.mask |= 0xff << (8 * i)
		}
		out[m] = o
	}
	return out
}()

// straight reads a leaf. It reports false for one that it does not accept; r has anything then.
func (s *Skimmer) straight(r *Record, b []byte) bool {
	if len(b) < 2 || len(b) > MaxLeaf || b[0] != '{' {
		return false
	}
	for i, m, before := 1, 0, 0; ; m++ {
		next := &s.next[before]
		if m, i = openedBy(b, i, m, int(*next)); i < 0 {
			return false
		}
		*next, before = uint8(m), m+1
		if i = s.straightMember(r, m, b, i); i < 0 || i >= len(b) {
			return false
		}
		if b[i] == ',' {
			i++
			continue
		}
		return b[i] == '}' && i+1 == len(b) && r.ID != ""
	}
}

// openedBy finds which member begins at i, from one on, and where its value does; -1 when it is none of them. The guess is
// tried first.
func openedBy(b []byte, i, from, guess int) (m, value int) {
	if i >= len(b) || b[i] != '"' {
		return 0, -1
	}
	i++
	x := wordAt(b, i)
	if n := openings[guess].begins(x, b, i); n > 0 && guess >= from {
		return guess, i + n
	}
	for m = from; m < members; m++ {
		if n := openings[m].begins(x, b, i); n > 0 {
			return m, i + n
		}
	}
	return 0, -1
}

// begins returns the length of the opening when b has it at i, where the word x is; else 0.
func (o *opening) begins(x uint64, b []byte, i int) int {
	n := len(o.text)
	if (x^o.word)&o.mask != 0 || n > 8 && (len(b)-i < n || string(b[i:i+n]) != o.text) {
		return 0
	}
	return n
}

// wordAt reads eight bytes, zeros behind the end.
func wordAt(b []byte, i int) (x uint64) {
	if len(b)-i >= 8 {
		return binary.LittleEndian.Uint64(b[i:])
	}
	for n, c := range b[i:] {
		x |= uint64(c) << (8 * n)
	}
	return x
}

// straightMember reads the value at i and returns the position behind it, -1 for one that is not accepted.
func (s *Skimmer) straightMember(r *Record, m int, b []byte, i int) int {
	switch m {
	case mID:
		return s.straightID(&r.ID, b, i)
	case mOf:
		if end := s.straightID(&r.Of, b, i); end > 0 {
			return end
		}
		return s.straightWord(&r.Of, m, b, i)
	case mTenant:
		return s.straightWord(&r.Tenant, m, b, i)
	case mInstance:
		return s.straightWord(&r.Instance, m, b, i)
	case mOutcome:
		return s.straightWord(&r.Outcome, m, b, i)
	case mCode:
		return s.straightWord(&r.Code, m, b, i)
	case mKind:
		i = s.straightWord(&r.KindName, m, b, i)
		r.Kind = s.kindOf(r.KindName)
		return i
	case mAgent, mUser, mOp, mServer, mTool, mVerdict:
		if !s.Words {
			return straightText(b, i)
		}
		return s.straightWord(r.wordMember(m), m, b, i)
	case mPlan:
		end := straightHash(b, i)
		if end > 0 {
			_ = r.Plan.UnmarshalText(b[i+1 : end-1]) // is one
		}
		return end
	case mAsk, mBundle, mReply, mRequest, mSnapshot:
		return straightHash(b, i)
	case mAfter:
		return straightList(b, i, straightIndex)
	case mLabels, mPolicies:
		return straightList(b, i, straightText)
	case mStages:
		return straightList(b, i, straightStage)
	case mBody:
		end := straightBody(b, i)
		if end > 0 {
			r.Body = b[i:end:end]
		}
		return end
	case mAddr, mDetail, mKey, mPlanID, mRoute, mToken:
		return straightText(b, i)
	}
	return r.straightNumber(m, b, i)
}

// wordMember is where a word that Skimmer.Words asks for is kept.
func (r *Record) wordMember(m int) *string {
	switch m {
	case mAgent:
		return &r.Agent
	case mUser:
		return &r.User
	case mOp:
		return &r.Op
	case mServer:
		return &r.Server
	case mTool:
		return &r.Tool
	}
	return &r.Verdict
}

func (r *Record) straightNumber(m int, b []byte, i int) int {
	n, end := straightInteger(b, i)
	switch {
	case end < 0:
	case m == mTime:
		r.Time = int64(n)
	case m == mBoot:
		r.Boot = n
	case m == mMicros:
		r.Micros = n
	case m == mStatus:
		r.Status = int(n)
	case m == mPlanExpires:
		r.PlanExpires = int64(n)
	case m == mStep && n < 1<<31:
		r.Step = int32(n)
	case m == mUses && n < 1<<32:
		r.Uses = uint32(n)
	case m == mV:
	default:
		return -1
	}
	return end
}

// straightInteger reads an integer that is not negative and that a double keeps.
func straightInteger(b []byte, i int) (n uint64, end int) {
	const most = 16 // digits of maxInteger
	for end = i; end < len(b) && b[end]-'0' <= 9; end++ {
		if end == i+most {
			return 0, -1
		}
		n = n*10 + uint64(b[end]-'0')
	}
	if end == i || b[i] == '0' && end > i+1 || n > maxInteger {
		return 0, -1
	}
	return n, end
}

// straightText passes over a string.
func straightText(b []byte, i int) int {
	if end := canon.PlainString(b, i); end > 0 {
		return end
	}
	return straightValue(b, i, '"')
}

// straightValue passes over a value inside the leaf that package canon has to judge, of one kind.
func straightValue(b []byte, i int, kind byte) int {
	if i >= len(b) || b[i] != kind {
		return -1
	}
	c := canon.NewCursor(b[i:])
	value := c.Value()
	lim := canon.DefaultLimits()
	lim.Depth-- // the leaf's own; of values, of two bytes at least, it has no room for too many
	if value == nil || canon.Check(value, lim) != nil {
		return -1
	}
	return i + len(value)
}

func straightBody(b []byte, i int) int { return straightValue(b, i, '{') }

// straightID reads the id of a record.
func (s *Skimmer) straightID(to *string, b []byte, i int) int {
	if len(b)-i < idLength+2 || b[i] != '"' || b[i+1+idLength] != '"' || !isID(b[i+1:i+1+idLength]) {
		return -1
	}
	*to = s.id(b[i+1 : i+1+idLength])
	return i + idLength + 2
}

// straightWord reads a word. Most are those of the record before.
func (s *Skimmer) straightWord(to *string, m int, b []byte, i int) int {
	last := s.last[m]
	if n := len(last); n > 0 && len(b)-i >= n+2 && b[i] == '"' && b[i+1+n] == '"' && string(b[i+1:i+1+n]) == last {
		*to = last
		return i + n + 2
	}
	end := straightText(b, i)
	if end < 0 {
		return -1
	}
	w, err := s.word(b[i:end])
	if err != nil {
		return -1
	}
	if len(w) == end-i-2 && len(w) <= maxWordKept { // without an escape in it
		s.last[m] = w
	}
	*to = w
	return end
}

func straightHash(b []byte, i int) int {
	const n = 2 * merkle.HashSize
	if len(b)-i < n+2 || b[i] != '"' || b[i+1+n] != '"' || !merkle.IsHashText(b[i+1:i+1+n]) {
		return -1
	}
	return i + n + 2
}

// straightList passes over an array that is not empty.
func straightList(b []byte, i int, element func(b []byte, i int) int) int {
	if i >= len(b) || b[i] != '[' {
		return -1
	}
	for range maxList {
		if i = element(b, i+1); i < 0 || i >= len(b) {
			return -1
		}
		if b[i] != ',' {
			break
		}
	}
	if b[i] != ']' {
		return -1
	}
	return i + 1
}

func straightIndex(b []byte, i int) int {
	n, end := straightInteger(b, i)
	if n > MaxLeaf {
		return -1
	}
	return end
}

func straightStage(b []byte, i int) int {
	if i >= len(b) || b[i] != '[' {
		return -1
	}
	end := straightText(b, i+1)
	if end < 0 || end >= len(b) || b[end] != ',' {
		return -1
	}
	n, end := straightInteger(b, end+1)
	if end < 0 || n >= 1<<32 || end >= len(b) || b[end] != ']' {
		return -1
	}
	return end + 1
}
