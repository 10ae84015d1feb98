package intent

import (
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
)

// appendMasked appends value with null at each of the places paths name, and tells how many of them
// exist. Two values whose masked forms are equal differ at most there. value is checked JSON.
func appendMasked(dst, value []byte, paths [][]string) ([]byte, int, error) {
	for _, p := range paths {
		if len(p) == 0 {
			return append(dst, "null"...), len(paths), nil
		}
	}
	switch {
	case len(paths) == 0:
	case canon.KindOf(value) == '{':
		return appendMaskedObject(dst, value, paths)
	case canon.KindOf(value) == '[':
		return appendMaskedArray(dst, value, paths)
	}
	return append(dst, value...), 0, nil
}

func appendMaskedObject(dst, value []byte, paths [][]string) ([]byte, int, error) {
	dst, n, hits := append(dst, '{'), 0, 0
	err := canon.Each(value, func(k, v []byte) error {
		if n > 0 {
			dst = append(dst, ',')
		}
		n++
		key := string(k)
		dst = append(canon.AppendString(dst, key), ':')
		var h int
		var err error
		dst, h, err = appendMasked(dst, v, below(paths, key))
		hits += h
		return err
	})
	return append(dst, '}'), hits, err
}

func appendMaskedArray(dst, value []byte, paths [][]string) ([]byte, int, error) {
	dst, hits := append(dst, '['), 0
	err := canon.EachElement(value, func(i int, v []byte) error {
		if i > 0 {
			dst = append(dst, ',')
		}
		var h int
		var err error
		dst, h, err = appendMasked(dst, v, below(paths, strconv.Itoa(i)))
		hits += h
		return err
	})
	return append(dst, ']'), hits, err
}

// below returns the rest of those paths that go through key.
func below(paths [][]string, key string) [][]string {
	var out [][]string
	for _, p := range paths {
		if p[0] == key {
			out = append(out, p[1:])
		}
	}
	return out
}
