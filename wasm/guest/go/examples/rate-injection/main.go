//go:build wasm

// Command rate-injection is a filter that says how much a call reads like a prompt injection, from 0 to 1000, as the score
// "injection", which policies can look at. {"deny_from":800} in its configuration refuses calls of that score and more. It looks
// for phrases, whatever stands between their words, and for characters that nobody sees.
package main

import gw "github.com/gatewright/gatewright/wasm/guest/go"

var phrases = [...]struct {
	words  string
	weight int
}{
	{"act as if", 150}, {"begin new instructions", 400}, {"developer mode", 400}, {"disregard all previous", 600},
	{"disregard previous", 500}, {"disregard the above", 500}, {"do anything now", 500}, {"do not mention this", 300},
	{"do not tell the user", 600}, {"forget everything above", 500}, {"forget your instructions", 500}, {"from now on you", 250},
	{"ignore all previous", 600}, {"ignore previous instructions", 600}, {"ignore the above", 500},
	{"ignore your instructions", 600}, {"im_start", 500}, {"jailbreak", 400}, {"new instructions", 200},
	{"override your instructions", 600}, {"pretend to be", 200}, {"print your instructions", 500}, {"reveal your", 250},
	{"send the conversation to", 500}, {"system prompt", 350}, {"without any restrictions", 300}, {"you are now", 250},
}

const (
	hiddenBit    = 1 << len(phrases) // of characters that nobody sees
	hiddenWeight = 300
)

var (
	denyFrom = 1001
	begin    [33]uint8  // where the phrases of a letter begin: a filter pays for what it looks at
	pairs    [32]uint32 // by the first letter of phrases, a bit for each second one
	small    [256]byte  // a byte in lower case where words are made of it, or a blank
)

// hidden returns how many bytes a character has that nobody sees, 0 for any other: zero width blanks and joins, overrides of
// the direction, the byte order mark and tags.
func hidden(t []byte) int {
	switch {
	case len(t) < 3:
	case t[0] == 0xe2 && t[1] == 0x80 && (t[2] == 0x8b || t[2] >= 0xaa && t[2] <= 0xae):
		return 3
	case t[0] == 0xe2 && t[1] == 0x81 && t[2] >= 0xa0 && t[2] <= 0xa4:
		return 3
	case t[0] == 0xef && t[1] == 0xbb && t[2] == 0xbf:
		return 3
	case t[0] == 0xf3 && t[1] == 0xa0 && (t[2] == 0x80 || t[2] == 0x81) && len(t) > 3:
		return 4
	}
	return 0
}

// words writes the words of a text to out in lower case, with one blank before and behind each, and returns how long they are.
func words(t, out []byte, seen *uint32) int {
	out[0] = ' '
	at, n := 0, 1
	for at < len(t) {
		if k := see(t[at:], seen); k > 0 {
			at += k
			continue
		}
		at, n = fold(t, at, out, n)
	}
	out[n] = ' '
	return n + 1
}

// fold writes at least one byte, up to the next that could belong to what nobody sees. It is apart from what is rare, and has no
// call in its loop: Go's compiler makes one loop of a whole function, which is paid for by all that stands in it.
//
//go:noinline
func fold(t []byte, at int, out []byte, n int) (int, int) {
	last := out[n-1]
	for first := at; at < len(t); at++ {
		c := small[t[at]]
		if c >= 0xe2 && at > first {
			break
		}
		if c|last != ' ' {
			out[n] = c
			n++
			last = c
		}
	}
	return at, n
}

// see is hidden, and marks what nobody sees.
//
//go:noinline
func see(t []byte, seen *uint32) int {
	n := hidden(t)
	if n > 0 {
		*seen |= hiddenBit
	}
	return n
}

// phrase marks the phrases that t begins with.
//
//go:noinline
func phrase(t []byte, seen *uint32) {
	for i := begin[t[0]&31]; i < begin[t[0]&31+1]; i++ {
		if w := phrases[i].words; len(t) > len(w) && string(t[:len(w)]) == w && t[len(w)] == ' ' {
			*seen |= 1 << i
		}
	}
}

// next returns where the next word from `at` on begins that a phrase could begin with, or the length of t.
//
//go:noinline
func next(t []byte, at int) int {
	last := t[at-1]
	for ; at+1 < len(t); at++ {
		c := t[at]
		if last == ' ' && pairs[c&31]>>(t[at+1]&31)&1 == 1 {
			return at
		}
		last = c
	}
	return len(t)
}

func look(t []byte, seen *uint32) {
	text := make([]byte, len(t)+2)
	text = text[:words(t, text, seen)]
	for i := next(text, 1); i < len(text); i = next(text, i+1) {
		phrase(text[i:], seen)
	}
}

func judge(c gw.Context, v *gw.Verdict) {
	var seen uint32
	for w := c.Walk(); w.Next(); {
		if w.Kind != gw.Number {
			look(w.Text, &seen)
		}
	}
	score := 0
	for i, p := range phrases {
		if seen>>i&1 == 1 {
			score += p.weight
		}
	}
	if seen&hiddenBit != 0 {
		score += hiddenWeight
	}
	score = min(score, 1000)
	v.Score("injection", score)
	if score >= denyFrom {
		v.Deny("prompt_injection", "it reads like a prompt injection")
	}
}

// kept is a byte in lower case where words are made of it, or a blank.
func kept(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c | 32
	case gw.IsWord(c) || c >= 0x80:
		return c
	}
	return ' '
}

// parse reads a whole number from 1 to 1000, or 0.
func parse(t []byte) (n int) {
	if len(t) > 4 {
		return 0
	}
	for _, c := range t {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	if n > 1000 {
		return 0
	}
	return n
}

func configure(config []byte) int32 {
	for c := range small {
		small[c] = kept(byte(c))
	}
	for letter := range byte(len(begin)) {
		for _, p := range phrases {
			pairs[p.words[0]&31] |= 1 << (p.words[1] & 31)
			if p.words[0]&31 < letter {
				begin[letter]++
			}
		}
	}
	for w := gw.NewWalk(config); w.Next(); {
		if w.Kind == gw.Key || string(w.Member) != "deny_from" {
			continue
		}
		denyFrom = 0
		if w.Kind == gw.Number {
			denyFrom = parse(w.Text)
		}
		if denyFrom == 0 {
			return 1 // not a score
		}
	}
	return 0
}

//go:wasmexport gw_init
func start(_, size uint32) int32 { return configure(gw.Config(size)) }

//go:wasmexport gw_decide
func decide(_, size uint32) uint64 { return gw.Judge(size, judge) }

//go:wasmexport gw_on_response
func onResponse(_, size uint32) uint64 { return gw.Judge(size, judge) }

func main() {}
