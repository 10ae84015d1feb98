package opa

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Bounds of sprintf. OPA has none; a policy that asks for more is ended, since an undefined message could let a call pass.
const (
	maxFormat = 16 << 10 // bytes of a format
	maxWidth  = 1000     // of a width or a precision
	maxDigits = 300      // of a number
	maxOutput = 1 << 20  // bytes that a format could at most come to
)

// sprintf is OPA's: it formats as Go does, with numbers as int64, big.Int or float64, strings as they are and whatever else
// as Rego writes it.
func sprintf(_ int64, args [][]byte) ([]byte, error) {
	if len(args) != 2 {
		return nil, errValue
	}
	format, err := parseValue(args[0])
	if err != nil {
		return nil, err
	}
	list, err := parseValue(args[1])
	if err != nil {
		return nil, err
	}
	if format.kind != isString || list.kind != isArray {
		return nil, nil // undefined, as a wrong type is
	}
	operands, longest := make([]any, len(list.list)), 0
	for i := range list.list {
		var size int
		if operands[i], size, err = operand(&list.list[i]); err != nil {
			return nil, err
		}
		longest = max(longest, size)
	}
	if err := bounded(format.text, longest); err != nil {
		return nil, err
	}
	return json.Marshal(fmt.Sprintf(format.text, operands...))
}

// operand is what Go's formatting is given for a value, and how many bytes that has at most.
func operand(v *value) (any, int, error) {
	switch v.kind {
	case isString:
		return v.text, len(v.text), nil
	case isNumber:
		n, err := number(v.text)
		return n, len(v.text), err
	}
	v.sorted()
	s := string(v.append(nil))
	return s, len(s), nil
}

func number(s string) (any, error) {
	if len(s) > maxDigits {
		return nil, ErrLimit
	}
	if strings.ContainsAny(s, ".eE") {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f, nil
		}
		return s, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if n, ok := new(big.Int).SetString(s, 10); ok {
		return n, nil
	}
	return s, nil
}

// bounded refuses a format whose output could be large: each verb may come to its width, its precision and twelve times the
// longest operand.
func bounded(format string, longest int) error {
	if len(format) > maxFormat {
		return ErrLimit
	}
	total := len(format)
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		digits := 0
		for i++; i < len(format) && strings.IndexByte("+-# 0123456789.[]*", format[i]) >= 0; i++ {
			switch c := format[i]; {
			case c == '*':
				return ErrLimit
			case c-'0' > 9:
				digits = 0
			default:
				if digits = 10*digits + int(c-'0'); digits > maxWidth {
					return ErrLimit
				}
			}
		}
		if total += 2*maxWidth + 12*longest; total > maxOutput {
			return ErrLimit
		}
	}
	return nil
}
