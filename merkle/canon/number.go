package canon

import "strconv"

// Which numbers pass. A number is a decimal value; its spelling does not matter, so 1, 1.0, 1e0 and 10e-1 are one value,
// and -0 is 0. A number passes when reading it as an IEEE 754 double and writing that double in the fewest digits that
// read back to it (ECMAScript's Number::toString, the rule of RFC 8785) yields the same decimal value. So 0.1 and 4.50
// pass; 0.10000000000000001, 1e400 and 1e-400 do not, although many readers take them and silently change them.
//
// Integers have a second bound: a number that is written without fraction and exponent, or that RFC 8785 would write so
// (that is every integer value below 1e21), must not exceed 2^53-1 in magnitude (RFC 7493, section 2.2). Without it
// 2^53+2 would pass, being a double, while its neighbour does not, and the canonical form of 1e20 would be refused.
const (
	maxSafe     = "9007199254740991" // 2^53-1
	maxNumber   = 400                // bytes; the longest useful spelling is 0.000...5 with 324 digits
	doubleDigit = 17                 // no double needs more digits
	plainDigits = 15                 // every decimal of so many digits survives a double (DBL_DIG)
	maxExponent = 100_000            // exponents are counted up to here, far outside any double's
)

// number checks the number at i, whose first byte is a digit or a minus sign.
func (s *scanner) number(i int) int {
	b, start := s.b, i
	if b[i] == '-' {
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	n := i - first
	switch {
	case n == 0:
		return s.unexpected(i, "a digit is expected")
	case n > 1 && b[first] == '0':
		return s.fail(KindSyntax, first, "a number cannot start with 0")
	case i < len(b) && (b[i] == '.' || b[i]|0x20 == 'e'):
		return s.real(start, first, i)
	case n <= plainDigits:
		return i
	case n == len(maxSafe) && string(b[first:i]) <= maxSafe:
		return i
	}
	return s.fail(KindNumber, start, "integer is beyond 2^53-1")
}

// real checks the rest of a number that has a fraction or an exponent, which starts at i; its digits start at first.
func (s *scanner) real(start, first, i int) int {
	b, exp, point := s.b, 0, i
	if b[i] == '.' {
		i = digits(b, i+1)
		if i == point+1 {
			return s.unexpected(i, "a digit is expected")
		}
	}
	mantissa := i
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		negative := i < len(b) && b[i] == '-'
		if negative || i < len(b) && b[i] == '+' {
			i++
		}
		from := i
		for ; i < len(b) && b[i]-'0' <= 9; i++ {
			exp = min(exp*10+int(b[i]-'0'), maxExponent)
		}
		if i == from {
			return s.unexpected(i, "a digit is expected")
		}
		if negative {
			exp = -exp
		}
	}
	if i-start > maxNumber {
		return s.fail(KindNumber, start, "number has too many digits")
	}
	d, ok := parseDecimal(b[first:mantissa], point-first)
	if !ok || !d.isDouble(exp) {
		return s.fail(KindNumber, start, "number does not survive a double")
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// decimal is the value 0.DIGITS * 10^point, where DIGITS are those of mant: count of them, neither starting nor ending
// with 0. Zero has count 0.
type decimal struct {
	mant  uint64
	count int
	point int
}

// parseDecimal reads digits with at most one point, which is at index dot or absent; it reports false when more than
// doubleDigit of them are significant.
func parseDecimal(text []byte, dot int) (decimal, bool) {
	d := decimal{point: dot}
	zeros := 0 // not yet known to be significant
	for i, c := range text {
		switch {
		case i == dot:
		case c != '0':
			if d.count+zeros+1 > doubleDigit {
				return d, false
			}
			d.count += zeros + 1
			for ; zeros > 0; zeros-- {
				d.mant *= 10
			}
			d.mant = d.mant*10 + uint64(c-'0')
		case d.count > 0:
			zeros++
		default:
			d.point-- // a leading zero
		}
	}
	return d, true
}

// isDouble reports whether d * 10^exp passes the rule at the top of this file.
func (d decimal) isDouble(exp int) bool {
	if d.count == 0 {
		return true
	}
	d.point += exp
	switch {
	case d.point > 309 || d.point < -323: // beyond 1.8e308, below 4.9e-324
		return false
	case d.point > len(maxSafe) && d.point <= 21: // an integer of 17 to 21 digits
		return false
	case d.count <= plainDigits && d.point != len(maxSafe) && -306 <= d.point && d.point <= 308:
		return true
	}
	return d.roundTrips()
}

// roundTrips asks strconv, on a text of at most 24 bytes. It does not allocate.
func (d decimal) roundTrips() bool {
	var buf [32]byte
	text := strconv.AppendUint(buf[:0], d.mant, 10)
	text = append(text, 'e')
	text = strconv.AppendInt(text, int64(d.point-d.count), 10)
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || d.point == len(maxSafe) && f > 1<<53-1 {
		return false
	}
	short := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	e := len(short) - 1
	for e > 0 && short[e] != 'e' {
		e--
	}
	exp, err := strconv.Atoi(string(short[e+1:]))
	back, ok := parseDecimal(short[:e], 1)
	return err == nil && ok && back.mant == d.mant && back.point+exp == d.point
}
