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
	letters  uint32 // a bit for each letter that a phrase begins with
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

// words returns the words of a text in lower case, with one blank before and behind each.
func words(t []byte, seen *uint32) []byte {
	out := append(make([]byte, 0, len(t)+2), ' ')
	for i := 0; i < len(t); i++ {
		c := t[i]
		if c >= 0xe2 {
			if n := hidden(t[i:]); n > 0 {
				*seen |= hiddenBit
				i += n - 1
				continue
			}
		}
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c|32)
		case gw.IsWord(c) || c >= 0x80:
			out = append(out, c)
		case out[len(out)-1] != ' ':
			out = append(out, ' ')
		}
	}
	return append(out, ' ')
}

// phrase marks the phrases that t begins with.
func phrase(t []byte, seen *uint32) {
	for i := range phrases {
		if w := phrases[i].words; w[0] == t[0] && len(t) > len(w) && string(t[:len(w)]) == w && t[len(w)] == ' ' {
			*seen |= 1 << i
		}
	}
}

func look(t []byte, seen *uint32) {
	text := words(t, seen)
	for i := 1; i < len(text); i++ {
		if c := text[i]; text[i-1] == ' ' && c >= 'a' && letters>>(c&31)&1 == 1 {
			phrase(text[i:], seen)
		}
	}
}

func judge(c gw.Context, v *gw.Verdict) {
	var seen uint32
	for w := gw.NewWalk(c.Body()); w.Next(); {
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
	for _, p := range phrases {
		letters |= 1 << (p.words[0] & 31)
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
