package approvals

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Call is one call as it would be forwarded: what an approval is for, and for nothing else.
type Call struct {
	Tenant, User, Agent string
	PlanID              string // empty for a call outside any plan
	Op, Server, Tool    string
	Args                []byte // a JSON object; nil is {}
}

// digestType begins what is hashed, so that a digest of an approval is never one of something else.
const digestType = "gatewright-approval/v1"

// maxWord bounds each name of a call, in bytes: far above what servers, tools and ids have.
const maxWord = 512

// Digest is the SHA-256 of the RFC 8785 form of {typ, tenant, user, agent, plan, op, server, tool, args}. It refuses
// arguments that are not one strict JSON object.
func (c *Call) Digest() (merkle.Hash, error) {
	args, err := c.args()
	if err != nil {
		return merkle.Hash{}, fmt.Errorf("digest call: %w", err)
	}
	return c.digest(args)
}

// args is the canonical form of the arguments.
func (c *Call) args() ([]byte, error) {
	if c.Args == nil {
		return []byte("{}"), nil
	}
	out, err := canon.AppendCanonical(nil, c.Args, canon.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("arguments: %w: %w", ErrInvalid, err)
	}
	if canon.KindOf(out) != '{' {
		return nil, fmt.Errorf("arguments are not an object: %w", ErrInvalid)
	}
	return out, nil
}

// digest writes the canonical form member by member, in the order of their names; args is canonical already.
func (c *Call) digest(args []byte) (merkle.Hash, error) {
	b := make([]byte, 0, len(args)+512)
	b = append(b, '{')
	for _, m := range [...]struct{ name, value string }{
		{"agent", c.Agent}, {"args", ""}, {"op", c.Op}, {"plan", c.PlanID}, {"server", c.Server}, {"tenant", c.Tenant},
		{"tool", c.Tool}, {"typ", digestType}, {"user", c.User},
	} {
		if len(m.value) > maxWord || !utf8.ValidString(m.value) { // else two names could be written alike
			return merkle.Hash{}, fmt.Errorf("%s is not UTF-8 of at most %d bytes: %w", m.name, maxWord, ErrInvalid)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(canon.AppendString(b, m.name), ':')
		if m.name == "args" {
			b = append(b, args...)
			continue
		}
		b = canon.AppendString(b, m.value)
	}
	return sha256.Sum256(append(b, '}')), nil
}

// amountNames are the arguments that may say how much a call is about.
var amountNames = [...]string{"amount", "value", "total", "price", "cost"}

// errNoNumber: there is an amount, and it cannot be compared.
var errNoNumber = errors.New("the amount is not a number")

// Amount is the largest number, by its absolute value, among the arguments amount, value, total, price and cost that are
// there, as plain decimal text: exact, without exponent. A string that is a number counts as one. Which of them the tool
// goes by is not known here, so that none may hide another. args is a checked JSON object, or nil.
func Amount(args []byte) (string, bool) {
	text, err := amount(args)
	return text, err == nil && text != ""
}

// amount is Amount with errNoNumber when one of them is something else; "" when there is none.
func amount(args []byte) (string, error) {
	var most *big.Rat
	for _, name := range amountNames {
		value, ok := canon.Get(args, name)
		if !ok || canon.KindOf(value) == 'n' {
			continue
		}
		n, ok := numberIn(value)
		if !ok {
			return "", errNoNumber
		}
		if most == nil || new(big.Rat).Abs(n).Cmp(new(big.Rat).Abs(most)) > 0 {
			most = n
		}
	}
	if most == nil {
		return "", nil
	}
	return plain(most), nil
}

// numberIn reads a number, or a string that is one.
func numberIn(value []byte) (*big.Rat, bool) {
	text := string(value)
	if canon.KindOf(value) == '"' {
		var err error
		if text, err = canon.Unquote(value); err != nil {
			return nil, false
		}
	}
	return number(text)
}

// maxNumber bounds a number in bytes and maxExponent its exponent's digits, far above any double's.
const (
	maxNumber   = 400
	maxExponent = 3
)

// number reads a JSON number exactly. No floating point is involved.
func number(s string) (*big.Rat, bool) {
	digits, exponent, scientific := strings.Cut(lower(s), "e")
	whole, fraction, point := strings.Cut(strings.TrimPrefix(digits, "-"), ".")
	if len(s) > maxNumber || !figures(whole) || point && !figures(fraction) {
		return nil, false
	}
	if scientific {
		e := strings.TrimLeft(exponent, "+-")
		if len(exponent)-len(e) > 1 || len(e) > maxExponent || !figures(e) {
			return nil, false
		}
	}
	return new(big.Rat).SetString(s)
}

// plain writes a number that has a finite decimal form in it.
func plain(n *big.Rat) string {
	digits, _ := n.FloatPrec()
	return n.FloatString(digits)
}

func figures(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func lower(s string) string { return strings.ToLower(s) }

// same tells whether two amounts are one number; none is 0, which is how clients write it.
func same(a, b string) bool {
	x, ok := number(orZero(a))
	y, also := number(orZero(b))
	return ok && also && x.Cmp(y) == 0
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// rank orders the roles that may decide; 0 is none of them.
func rank(role string) int {
	switch lower(role) {
	case "member":
		return 1
	case "manager":
		return 2
	case "admin":
		return 3
	}
	return 0
}

// higher is the higher of two roles.
func higher(a, b string) string {
	if rank(b) > rank(a) {
		a = b
	}
	return lower(a)
}
