package identity

// ParseKey is the parser alone, for fuzzing.
func ParseKey(text []byte) (id []byte, ok bool) { return parseKey(text) }
