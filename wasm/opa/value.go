package opa

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// A policy hands over values as Rego writes them: JSON, and sets besides, {1,2} or set(). errValue says that it did not,
// which is a fault of its OPA library and never of the author's.
var errValue = errors.New("a value of the policy's cannot be read")

// ErrLimit says that a built-in was asked for more than it may give.
var ErrLimit = errors.New("a built-in is asked for more than the gateway gives")

// scan returns the end of the value that b begins with. Values in it are not looked at, only where they end.
func scan(b []byte) (int, error) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			n := quoted(b[i:])
			if n == 0 {
				return 0, errValue
			}
			i += n - 1
		case c == '{' || c == '[' || c == '(':
			depth++
		case c == '}' || c == ']' || c == ')':
			if depth--; depth < 0 {
				return i, nil
			}
		case c == ',' && depth == 0:
			return i, nil
		}
	}
	if depth != 0 {
		return 0, errValue
	}
	return len(b), nil
}

// quoted is the length of the string that b begins with, quotes included; 0 when it has no end.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// elements splits an array.
func elements(b []byte) ([][]byte, error) {
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != '[' || b[len(b)-1] != ']' {
		return nil, errValue
	}
	var all [][]byte
	for rest := bytes.TrimSpace(b[1 : len(b)-1]); len(rest) > 0; {
		n, err := scan(rest)
		if err != nil || n == 0 || n < len(rest) && rest[n] != ',' {
			return nil, errValue
		}
		all = append(all, bytes.TrimSpace(rest[:n]))
		rest = bytes.TrimSpace(rest[min(n+1, len(rest)):])
	}
	return all, nil
}

// unquote reads a string.
func unquote(b []byte) (s string, err error) {
	if err := json.Unmarshal(b, &s); err != nil {
		return "", errValue
	}
	return s, nil
}

// pretty writes a value as OPA prints its terms: with a space behind commas and colons, and strings as Go quotes them.
func pretty(b []byte) (string, error) {
	var out []byte
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := quoted(b[i:])
			if n == 0 {
				return "", errValue
			}
			s, err := unquote(b[i : i+n])
			if err != nil {
				return "", err
			}
			out = strconv.AppendQuote(out, s)
			i += n - 1
		case ',', ':':
			out = append(out, b[i], ' ')
		case ' ':
		default:
			out = append(out, b[i])
		}
	}
	return string(out), nil
}
