package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Bounds of a single value, whatever its setting: a path or URL is far shorter, a list of proxies or
// host names far fewer, and both are compared on a hot path or printed in a log line.
const (
	maxText = 2048
	maxList = 256
)

// Size is a number of bytes. In text it always carries its unit, because 64 could mean bytes, KiB or
// MiB and each reading would start: "64MiB".
type Size int64

// sizeUnits are binary units only; see parseSize for the decimal ones.
var sizeUnits = []struct {
	name string
	n    Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return "0B"
}

func parseSize(text string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok || digits == "" || digits[len(digits)-1] < '0' || digits[len(digits)-1] > '9' {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || digits[0] == '+' {
			return 0, fmt.Errorf("want a size such as \"64MiB\", have %q", text)
		}
		if n > math.MaxInt64/int64(u.n) || n < math.MinInt64/int64(u.n) {
			return 0, fmt.Errorf("size %q does not fit 64 bits", text)
		}
		return Size(n) * u.n, nil
	}
	if strings.ContainsAny(text, "kKmMgG") && strings.ContainsAny(text, "0123456789") {
		return 0, fmt.Errorf("size %q has no unit this file knows: write B, KiB, MiB or GiB (1 KiB = 1024 bytes)", text)
	}
	return 0, fmt.Errorf("want a size such as \"64MiB\", have %q", text)
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want a duration such as \"250ms\" (units ns, us, ms, s, m, h), have %q", text)
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil && d == 0 {
		return 0, fmt.Errorf("a duration needs its unit: write \"0s\", not %q", text)
	}
	return d, nil
}

// kind is what a setting's value is, as the user sees it.
type kind int

const (
	kindText kind = iota
	kindBool
	kindInt
	kindFloat
	kindDuration
	kindSize
	kindList
)

// kindOf maps a field's type to its kind; ok is false for types a setting may not have.
func kindOf(t reflect.Type) (kind, bool) {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return kindDuration, true
	case t == reflect.TypeFor[Size]():
		return kindSize, true
	case t == reflect.TypeFor[[]string]():
		return kindList, true
	}
	switch t.Kind() {
	case reflect.String:
		return kindText, true
	case reflect.Bool:
		return kindBool, true
	case reflect.Int:
		return kindInt, true
	case reflect.Float64:
		return kindFloat, true
	default:
		return 0, false
	}
}

func (k kind) String() string {
	return [...]string{"a string", "true or false", "a whole number", "a number", `a duration such as "250ms"`, `a size such as "64MiB"`, `a list of strings such as ["a", "b"]`}[k]
}

// parseText reads a setting's value from text: an environment variable, a flag, or a string of the
// file for the kinds that are written as strings.
func (s *setting) parseText(text string) (any, error) {
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("%s: %w", s.label(), err)
	}
	v, err := s.convert(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.label(), err)
	}
	return v, nil
}

func (s *setting) convert(text string) (any, error) {
	switch s.kind {
	case kindBool:
		if text == "true" || text == "false" {
			return text == "true", nil
		}
		return nil, fmt.Errorf("want true or false, have %q", text)
	case kindInt:
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("want a whole number, have %q", text)
		}
		return n, nil
	case kindFloat:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, fmt.Errorf("want a number, have %q", text)
		}
		return f, nil
	case kindDuration:
		return parseDuration(text)
	case kindSize:
		if s.auto && text == "auto" {
			return Size(0), nil
		}
		n, err := parseSize(text)
		if err == nil && n == 0 && s.auto {
			return nil, fmt.Errorf("want \"auto\" or a size of at least %s, have %q", s.min, text)
		}
		return n, err
	case kindList:
		return splitList(text)
	default:
		return text, nil
	}
}

// splitList reads a list from one line of text: elements between commas, blanks around them dropped.
func splitList(text string) ([]string, error) {
	list := []string{}
	if strings.TrimSpace(text) == "" {
		return list, nil
	}
	for el := range strings.SplitSeq(text, ",") {
		el = strings.TrimSpace(el)
		if el == "" {
			return nil, fmt.Errorf("the list %q has an empty element", text)
		}
		list = append(list, el)
	}
	if len(list) > maxList {
		return nil, fmt.Errorf("the list has %d elements, the most is %d", len(list), maxList)
	}
	return list, nil
}

// checkText refuses what no setting can mean: control characters (a stray newline would forge log
// lines and ready lines) and overlong text.
func checkText(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("the value is %d bytes long, the most is %d", len(text), maxText)
	}
	for _, r := range text {
		if r < 0x20 || r == 0x7f {
			return fmt.Errorf("the value holds a control character (%U)", r)
		}
	}
	return nil
}
