package store

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what is kept. They are the same for every engine, so that a gateway can move from one to another.
const (
	// MaxTenant is the longest tenant name in bytes: a DNS label, since tenants appear in host names and paths.
	MaxTenant = 63
	// MaxTable is the longest table name in bytes.
	MaxTable = 63
	// MaxKey is the longest key in bytes. Keys are ids and short paths; index pages stay dense.
	MaxKey = 1024
	// MaxValue is the biggest value in bytes. The biggest honest row is a compiled filter (a few hundred KiB).
	MaxValue = 4 << 20
	// MaxTxnBytes is how much one transaction may write, keys and values together, so that its memory is known.
	MaxTxnBytes = 16 << 20
	// MaxTxnWrites is how many writes and deletes one transaction may make; with the longest keys they fit into one
	// batch of the embedded engine.
	MaxTxnWrites = 1000
)

// CheckTenant refuses what is not a tenant's name: [a-z0-9][a-z0-9-]{0,62}, or Instance.
func CheckTenant(tenant string) error {
	if tenant == Instance {
		return nil
	}
	if tenant == "" || len(tenant) > MaxTenant || tenant[0] == '-' {
		return invalid("tenant")
	}
	for i := 0; i < len(tenant); i++ {
		if !lowerDigit(tenant[i]) && tenant[i] != '-' {
			return invalid("tenant")
		}
	}
	return nil
}

// CheckTable refuses what is not a table's name: [a-z][a-z0-9_]{0,62}.
func CheckTable(table string) error {
	if table == "" || len(table) > MaxTable || table[0] < 'a' || table[0] > 'z' {
		return invalid("table")
	}
	for i := 0; i < len(table); i++ {
		if !lowerDigit(table[i]) && table[i] != '_' {
			return invalid("table")
		}
	}
	return nil
}

// CheckKey refuses an empty or long key, and one that not every engine can hold: keys are UTF-8 without NUL.
func CheckKey(key string) error {
	if key == "" {
		return invalid("empty key")
	}
	return CheckPrefix(key)
}

// CheckPrefix is CheckKey for the beginning of keys, which may be empty but never ends inside a character.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKey || strings.IndexByte(prefix, 0) >= 0 || !utf8.ValidString(prefix) {
		return invalid("key")
	}
	return nil
}

// CheckRow is what every engine asks before a Put.
func CheckRow(table, key string, data []byte) error {
	if err := CheckName(table, key); err != nil {
		return err
	}
	if len(data) > MaxValue {
		return invalid(fmt.Sprintf("value of %d bytes, at most %d:", len(data), MaxValue))
	}
	return nil
}

// CheckName is what every engine asks before a Get or Delete.
func CheckName(table, key string) error {
	if err := CheckTable(table); err != nil {
		return err
	}
	return CheckKey(key)
}

func lowerDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// invalid never repeats the offending bytes: they come from outside and end in logs.
func invalid(what string) error { return fmt.Errorf("%s: %w", what, ErrInvalid) }
