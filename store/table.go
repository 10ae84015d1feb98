package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrNewer says that the row was written by a newer version of the program. Guessing at it could lose what the newer version
// added, so it is refused.
var ErrNewer = errors.New("row is of a newer version")

// Table keeps rows of one type as JSON. A row carries its version: newer ones are refused; a row of this version or an
// older one with a member that T does not know is refused as damaged. New members are therefore additive (their zero value is
// what older rows have) and come with a higher Version.
type Table[T any] struct {
	Name    string // see CheckTable
	Version uint16 // of the rows written, from 1
}

// Get returns the row and its version, or ErrNotFound.
func (t Table[T]) Get(tx Txn, key string) (row T, version uint64, err error) {
	v, err := tx.Get(t.Name, key)
	if err != nil {
		return row, 0, err
	}
	row, err = t.decode(v.Data)
	return row, v.Version, err
}

// Put writes the row under the rules of Txn.Put.
func (t Table[T]) Put(tx Txn, key string, row T, at uint64) (uint64, error) {
	data, err := t.encode(row)
	if err != nil {
		return 0, err
	}
	return tx.Put(t.Name, key, data, at)
}

// Delete removes the row under the rules of Txn.Delete.
func (t Table[T]) Delete(tx Txn, key string, at uint64) error { return tx.Delete(t.Name, key, at) }

// Scan calls fn for each row whose key begins with prefix, in key order. One row that cannot be read ends the scan with
// an error: a list that silently lacks a row (a revocation, say) would be worse than none.
func (t Table[T]) Scan(tx Txn, prefix string, fn func(key string, row T, version uint64) error) error {
	return tx.Scan(t.Name, prefix, func(key string, v Value) error {
		row, err := t.decode(v.Data)
		if err != nil {
			return err
		}
		return fn(key, row, v.Version)
	})
}

// encode lays a row out as its version (16 bit, big-endian) and its JSON.
func (t Table[T]) encode(row T) ([]byte, error) {
	body, err := json.Marshal(row)
	if err != nil {
		return nil, fmt.Errorf("encode row of %s: %w", t.Name, err)
	}
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(body)), t.Version), body...), nil
}

func (t Table[T]) decode(data []byte) (row T, err error) {
	if len(data) < 2 {
		return row, fmt.Errorf("decode row of %s: %d bytes are too few", t.Name, len(data))
	}
	if v := binary.BigEndian.Uint16(data); v > t.Version {
		return row, fmt.Errorf("decode row of %s: version %d, this program knows %d: %w", t.Name, v, t.Version, ErrNewer)
	}
	dec := json.NewDecoder(bytes.NewReader(data[2:]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&row); err != nil {
		return row, fmt.Errorf("decode row of %s: %w", t.Name, err)
	}
	if dec.More() {
		return row, fmt.Errorf("decode row of %s: bytes after the row", t.Name)
	}
	return row, nil
}
