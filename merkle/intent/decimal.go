package intent

import "bytes"

// decimal is a JSON number kept as its text, so that comparison is exact where a double would round.
// Its value is 0.d1d2d3... * 10^point with d1 != 0, unless zero.
type decimal struct {
	digits []byte // mantissa from the first significant digit on, may hold one '.'
	count  int    // significant digits, trailing zeros not counted
	point  int
	neg    bool
	zero   bool
}

// maxExponent clamps the exponent: I-JSON numbers fit a double, whose exponents end near 308.
const maxExponent = 1 << 20

// parseDecimal reads a number that has passed the strict gate; it allocates nothing.
func parseDecimal(raw []byte) decimal {
	var d decimal
	if len(raw) > 0 && raw[0] == '-' {
		d.neg, raw = true, raw[1:]
	}
	exp := 0
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		exp, raw = parseExponent(raw[i+1:]), raw[:i]
	}
	whole := bytes.IndexByte(raw, '.')
	if whole < 0 {
		whole = len(raw)
	}
	lead, seen := 0, 0
	start := -1
	for i, c := range raw {
		if c == '.' {
			continue
		}
		if start < 0 && c == '0' {
			lead++
			continue
		}
		if start < 0 {
			start = i
		}
		seen++
		if c != '0' {
			d.count = seen
		}
	}
	if start < 0 {
		return decimal{zero: true}
	}
	d.digits, d.point = raw[start:], whole-lead+exp
	return d
}

func parseExponent(b []byte) int {
	neg := false
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		neg, b = b[0] == '-', b[1:]
	}
	n := 0
	for _, c := range b {
		n = min(n*10+int(c-'0'), maxExponent)
	}
	if neg {
		return -n
	}
	return n
}

// isInteger tells whether the value has no fraction: 1.0 and 1e2 have none.
func (d decimal) isInteger() bool { return d.zero || d.count <= d.point }

func (d decimal) sign() int {
	switch {
	case d.zero:
		return 0
	case d.neg:
		return -1
	}
	return 1
}

// compare orders two decimals by value: -1, 0 or 1.
func (d decimal) compare(e decimal) int {
	if s, t := d.sign(), e.sign(); s != t || s == 0 {
		return cmp(s, t)
	}
	c := d.compareMagnitude(e)
	if d.neg {
		return -c
	}
	return c
}

func (d decimal) compareMagnitude(e decimal) int {
	if d.point != e.point {
		return cmp(d.point, e.point)
	}
	i, k := 0, 0
	for n := max(d.count, e.count); n > 0; n-- {
		var a, b byte
		a, i = nextDigit(d.digits, i)
		b, k = nextDigit(e.digits, k)
		if a != b {
			return cmp(int(a), int(b))
		}
	}
	return 0
}

// nextDigit returns the digit at i, skipping the point, and '0' past the end.
func nextDigit(digits []byte, i int) (byte, int) {
	if i < len(digits) && digits[i] == '.' {
		i++
	}
	if i >= len(digits) {
		return '0', i
	}
	return digits[i], i + 1
}

func cmp(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
