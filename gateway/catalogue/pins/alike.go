package pins

// Names of tools and servers are ASCII, so what looks like another name there is a short list: upper and lower case, the
// joiners _ - and the dot, and the glyphs 0 O and 1 l I (Unicode TR39 has the same pairs).

// Skeletons are two keys of a name. Names that share the first, or share the second, look alike: the first is for readers
// who do not mind case, the second for fonts in which I is l.
func Skeletons(name string) [2]string {
	folded, drawn := []byte(name), []byte(name)
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '-' || c == '.' || c == '_':
			folded[i], drawn[i] = '_', '_'
		case c == '1':
			folded[i], drawn[i] = 'l', 'l'
		case c == '0':
			folded[i], drawn[i] = 'o', 'O'
		case c == 'I':
			folded[i], drawn[i] = 'i', 'l'
		case c >= 'A' && c <= 'Z':
			folded[i] = c + 'a' - 'A'
		}
	}
	return [2]string{"a" + string(folded), "b" + string(drawn)}
}

// Alike says whether two different names look the same to somebody.
func Alike(a, b string) bool {
	if a == b || len(a) != len(b) {
		return false
	}
	x, y := Skeletons(a), Skeletons(b)
	return x[0] == y[0] || x[1] == y[1]
}
