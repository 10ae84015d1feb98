//go:build wasm

// Command label-pii is a filter that labels calls whose arguments or results hold e-mail addresses, IBANs, phone numbers or card
// numbers.
package main

import gw "github.com/gatewright/gatewright/wasm/guest/go"

// The kinds, as bits.
const (
	email = 1 << iota
	iban
	phone
	card
	all = email | iban | phone | card
)

var labels = [...]string{"pii:email", "pii:iban", "pii:phone", "pii:card"}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func upper(c byte) bool  { return c >= 'A' && c <= 'Z' }
func letter(c byte) bool { return upper(c &^ 32) }

// get returns the byte at a place, 0 beyond the ends of the text.
func get(t []byte, at int) byte {
	if uint(at) < uint(len(t)) {
		return t[at]
	}
	return 0
}

// isEmail looks at the '@' at `at`: something before it, and a domain whose last part has two letters or more.
func isEmail(t []byte, at int) bool {
	if c := get(t, at-1); !gw.IsWord(c) && c != '.' && c != '%' && c != '+' && c != '-' {
		return false
	}
	end, dot := at+1, 0
	for c := get(t, end); digit(c) || letter(c) || c == '.' || c == '-'; c = get(t, end) {
		end++
	}
	for t[end-1] == '.' || t[end-1] == '-' {
		end--
	}
	for i := at + 2; i < end; i++ {
		if t[i] == '.' {
			dot = i
		}
	}
	if dot == 0 || end-dot < 3 {
		return false
	}
	for _, c := range t[dot+1 : end] {
		if !letter(c) {
			return false
		}
	}
	return true
}

// isIBAN looks at the two letters at `at`: two digits, 11 to 30 digits and capitals, a blank between any two, and the remainder
// of ISO 7064.
func isIBAN(t []byte, at int) bool {
	if gw.IsWord(get(t, at-1)) || !upper(get(t, at+1)) || !digit(get(t, at+2)) || !digit(get(t, at+3)) {
		return false
	}
	head := uint32(t[at]-'A'+10)*10000 + uint32(t[at+1]-'A'+10)*100 + uint32(t[at+2]-'0')*10 + uint32(t[at+3]-'0')
	rest, i := uint32(0), at+4
	for n := 5; n <= 34; n++ {
		if get(t, i) == ' ' {
			i++
		}
		switch c := get(t, i); {
		case digit(c):
			rest = (rest*10 + uint32(c-'0')) % 97
		case upper(c):
			rest = (rest*100 + uint32(c-'A'+10)) % 97
		default:
			return false
		}
		i++
		if n >= 15 && !gw.IsWord(get(t, i)) && (rest*1_000_000+head)%97 == 1 {
			return true
		}
	}
	return false
}

// isPhone looks at the '+' at `at`: 8 to 15 digits, with a mark or two between any.
func isPhone(t []byte, at int) bool {
	if gw.IsWord(get(t, at-1)) || !digit(get(t, at+1)) || t[at+1] == '0' {
		return false
	}
	for i, n, marks := at+1, 0, 0; n <= 15; i++ {
		switch c := get(t, i); {
		case digit(c):
			n++
			marks = 0
		case (c == ' ' || c == '-' || c == '.' || c == '(' || c == ')') && marks < 2:
			marks++
		default:
			return n >= 8 && (marks > 0 || !gw.IsWord(c))
		}
	}
	return false
}

func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		v := int(digits[len(digits)-1-i])
		if i&1 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// isCard looks at the digit at `at`: 13 to 19 of them, a blank or dash between any two, the last as ISO 7812 wants it.
func isCard(t []byte, at int) bool {
	if c := get(t, at-1); gw.IsWord(c) || c == '.' || c == '-' || c == '+' {
		return false
	}
	var digits [19]byte
	for i, n := at, 0; n < len(digits); i++ {
		c := get(t, i)
		if n > 0 && (c == ' ' || c == '-') {
			i++
			c = get(t, i)
		}
		if !digit(c) {
			return false
		}
		digits[n] = c - '0'
		if n++; n >= 13 && !gw.IsWord(get(t, i+1)) && luhn(digits[:n]) {
			return true
		}
	}
	return false
}

// candidate returns the first place from `at` on where something could begin. It is apart from what is done there: Go's
// compiler makes one loop of a whole function, which is paid for by all that stands in it.
//
//go:noinline
func candidate(t []byte, at int) int {
	for ; at < len(t); at++ {
		if c := t[at]; c <= 'Z' && (c == '@' || c == '+' || c >= '2' && c <= '6' || c >= 'A') {
			return at
		}
	}
	return len(t)
}

// look returns what begins at `at`, or 0.
func look(t []byte, at, known int) int {
	kind, is := iban, isIBAN
	switch c := t[at]; {
	case c == '@':
		kind, is = email, isEmail
	case c == '+':
		kind, is = phone, isPhone
	case digit(c):
		kind, is = card, isCard
	}
	if known&kind == 0 && is(t, at) {
		return kind
	}
	return 0
}

func judge(c gw.Context, v *gw.Verdict) {
	found := 0
	for w := c.Walk(); found != all && w.Next(); {
		for i := candidate(w.Text, 0); i < len(w.Text); i = candidate(w.Text, i+1) {
			found |= look(w.Text, i, found)
		}
	}
	for i, label := range labels {
		if found>>i&1 == 1 {
			v.Label(label)
		}
	}
}

//go:wasmexport gw_decide
func decide(_, size uint32) uint64 { return gw.Judge(size, judge) }

//go:wasmexport gw_on_response
func onResponse(_, size uint32) uint64 { return gw.Judge(size, judge) }

func main() {}
