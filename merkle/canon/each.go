package canon

import "bytes"

// The functions of this file read documents that Check has accepted. They find the ends of values and validate nothing;
// on other input they return ErrShape or nonsense, but never panic and never read outside it.

// KindOf returns the kind of a value: '{', '[', '"', 'n' for null, 't', 'f', '0' for any number, and 0 for no value.
func KindOf(value []byte) byte {
	i := space(value, 0)
	if i >= len(value) {
		return 0
	}
	switch c := value[i]; {
	case c == '{' || c == '[' || c == '"' || c == 'n' || c == 't' || c == 'f':
		return c
	case c == '-' || c-'0' <= 9:
		return '0'
	}
	return 0
}

// Each calls fn for each member of an object, in the document's order, until fn returns an error, which it then returns.
// key is decoded and value is the raw value without surrounding blanks. Both may share memory with object: they must not
// be changed, and key is valid only during the call. Nothing is allocated unless a key has escapes.
func Each(object []byte, fn func(key, value []byte) error) error {
	var buf []byte
	return members(object, func(raw []byte, escaped bool, value []byte) error {
		if escaped {
			buf = appendUnescaped(buf[:0], raw)
			raw = buf
		}
		return fn(raw, value)
	})
}

// members calls fn with the raw keys and values of an object.
func members(object []byte, fn func(key []byte, escaped bool, value []byte) error) error {
	b := object
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return ErrShape
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return nil
	}
	for i < len(b) && b[i] == '"' {
		end, escaped := skipString(b, i+1)
		if end < 0 {
			return ErrShape
		}
		k := b[i+1 : end-1 : end-1]
		i = space(b, end)
		if i >= len(b) || b[i] != ':' {
			return ErrShape
		}
		from := space(b, i+1)
		to := skip(b, from)
		if to < 0 {
			return ErrShape
		}
		if err := fn(k, escaped, b[from:to:to]); err != nil {
			return err
		}
		i = space(b, to)
		if i < len(b) && b[i] == '}' {
			return nil
		}
		if i >= len(b) || b[i] != ',' {
			return ErrShape
		}
		i = space(b, i+1)
	}
	return ErrShape
}

// EachElement calls fn for each element of an array, in order, until fn returns an error, which it then returns. value is
// the raw element without surrounding blanks; it shares memory with array.
func EachElement(array []byte, fn func(i int, value []byte) error) error {
	b := array
	i := space(b, 0)
	if i >= len(b) || b[i] != '[' {
		return ErrShape
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return nil
	}
	for n := 0; ; n++ {
		to := skip(b, i)
		if to < 0 {
			return ErrShape
		}
		if err := fn(n, b[i:to:to]); err != nil {
			return err
		}
		i = space(b, to)
		if i < len(b) && b[i] == ']' {
			return nil
		}
		if i >= len(b) || b[i] != ',' {
			return ErrShape
		}
		i = space(b, i+1)
	}
}

// Get returns the raw value of the member named key. ok is false when object is not an object or has no such member. Keys
// are equal when their decoded bytes are: there is no folding of case.
func Get(object []byte, key string) (value []byte, ok bool) {
	b := object
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return nil, false
	}
	for i = space(b, i+1); i < len(b) && b[i] == '"'; {
		end, escaped := skipString(b, i+1)
		if end < 0 {
			return nil, false
		}
		raw := b[i+1 : end-1]
		i = space(b, end)
		if i >= len(b) || b[i] != ':' {
			return nil, false
		}
		from := space(b, i+1)
		to := skip(b, from)
		if to < 0 {
			return nil, false
		}
		if hasText(raw, escaped, key) {
			return b[from:to:to], true
		}
		i = space(b, to)
		if i >= len(b) || b[i] != ',' {
			return nil, false
		}
		i = space(b, i+1)
	}
	return nil, false
}

// hasText reports whether the raw content of a string decodes to key.
func hasText(raw []byte, escaped bool, key string) bool {
	if !escaped {
		return string(raw) == key
	}
	var buf [shortKey]byte
	return string(appendUnescaped(buf[:0], raw)) == key
}

// trim returns b without blanks at its ends.
func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// skip returns the position behind the value at i, or -1 when it does not end.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		end, _ := skipString(b, i+1)
		return end
	case '{', '[':
		return skipContainer(b, i)
	}
	from := i
	for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != ']' && b[i] != '}' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

// skipContainer counts brackets outside strings. Which bracket closes which was settled by Check.
func skipContainer(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			if i, _ = skipString(b, i+1); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// skipString returns the position behind the string whose content starts at i, or -1, and whether it has escapes.
func skipString(b []byte, i int) (end int, escaped bool) {
	for {
		i, _ = run(b, i)
		if i >= len(b) {
			return -1, false
		}
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i += 2
		default:
			i++
		}
	}
}
