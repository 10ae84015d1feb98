package canon

import "bytes"

// The functions of this file read documents that Check has accepted. They find the ends of values and validate nothing;
// on other input they return ErrShape or nonsense, but never panic and never read outside it.

// KindOf returns the kind of a value: '{', '[', '"', 'n' for null, 't', 'f', '0' for any number, and 0 for no value.
func KindOf(value []byte) byte {
	return kindAt(value, space(value, 0))
}

func kindAt(b []byte, i int) byte {
	if i >= len(b) {
		return 0
	}
	switch c := b[i]; {
	case c == '{' || c == '[' || c == '"' || c == 'n' || c == 't' || c == 'f':
		return c
	case c == '-' || c-'0' <= 9:
		return '0'
	}
	return 0
}

// Each calls fn for each member of an object, in the document's order, until fn returns an error, which it then returns.
// key is decoded and value is the raw value without surrounding blanks. Both may share memory with object: they must not
// be changed. Nothing is allocated unless a key has escapes.
func Each(object []byte, fn func(key, value []byte) error) error {
	c := NewCursor(object)
	if c.Kind() != '{' {
		return ErrShape
	}
	for more := c.Enter(); more; more = c.More() {
		key := c.Key()
		value := c.Value()
		if value == nil {
			break
		}
		if err := fn(key, value); err != nil {
			return err
		}
	}
	return c.shape()
}

// EachElement calls fn for each element of an array, in order, until fn returns an error, which it then returns. value is
// the raw element without surrounding blanks; it shares memory with array.
func EachElement(array []byte, fn func(i int, value []byte) error) error {
	c := NewCursor(array)
	if c.Kind() != '[' {
		return ErrShape
	}
	n := 0
	for more := c.Enter(); more; more = c.More() {
		value := c.Value()
		if value == nil {
			break
		}
		if err := fn(n, value); err != nil {
			return err
		}
		n++
	}
	return c.shape()
}

func (c *Cursor) shape() error {
	if c.broken {
		return ErrShape
	}
	return nil
}

// Get returns the raw value of the member named key. ok is false when object is not an object or has no such member. Keys
// are equal when their decoded bytes are: there is no folding of case.
func Get(object []byte, key string) (value []byte, ok bool) {
	c := NewCursor(object)
	if c.Kind() != '{' {
		return nil, false
	}
	for more := c.Enter(); more; more = c.More() {
		hit := string(c.Key()) == key
		value := c.Value()
		if hit {
			return value, value != nil
		}
	}
	return nil, false
}

// trim returns b without blanks at its ends.
func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }
