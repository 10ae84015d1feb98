package canon

// PlainString returns the position behind the closing quote of the string whose opening quote stands at i, when its content
// is ASCII without an escape: a string that Check accepts and whose text is its bytes. It returns -1 for any other, which may
// be right all the same. b need not be checked.
func PlainString(b []byte, i int) int {
	if i < 0 || i >= len(b) || b[i] != '"' {
		return -1
	}
	end, seen := run(b, i+1)
	if end >= len(b) || b[end] != '"' || seen&highs != 0 {
		return -1
	}
	return end + 1
}
