//go:build wasm

// Command redact-secrets is a filter that replaces secrets in the strings of arguments and results by [redacted:KIND] and labels
// the call secret:KIND. A call with a secret in a key is refused: a key cannot be replaced.
package main

import gw "github.com/gatewright/gatewright/wasm/guest/go"

var names = [...]string{"aws-key", "github-token", "api-key", "slack-token", "private-key"}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
func alnum(c byte) bool { return gw.IsWord(c) && c != '_' }

// run returns where the run of letters, digits and one or two others at `at` ends.
func run(t []byte, at int, other, another byte) int {
	for at < len(t) && (alnum(t[at]) || t[at] == other || t[at] == another) {
		at++
	}
	return at
}

func among(letters string, c byte) bool {
	for i := range len(letters) {
		if letters[i] == c {
			return true
		}
	}
	return false
}

func begins(t []byte, with string) bool { return len(t) >= len(with) && string(t[:len(with)]) == with }

// The functions below return where the secret that t begins with ends, or 0 where there is none.

func aws(t []byte) int {
	if len(t) < 20 || !begins(t, "AKIA") && !begins(t, "ASIA") || len(t) > 20 && gw.IsWord(t[20]) {
		return 0
	}
	for _, c := range t[4:20] {
		if !upper(c) {
			return 0
		}
	}
	return 20
}

func github(t []byte) int {
	if len(t) < 4 || t[1] != 'h' || t[3] != '_' || !among("pousr", t[2]) {
		return 0
	}
	if end := run(t, 4, '0', '0'); end >= 40 {
		return end
	}
	return 0
}

func api(t []byte) int {
	if !begins(t, "sk-") {
		return 0
	}
	if end := run(t, 3, '-', '_'); end >= 23 {
		return end
	}
	return 0
}

func slack(t []byte) int {
	if len(t) < 5 || !begins(t, "xox") || t[4] != '-' || !among("bpars", t[3]) {
		return 0
	}
	if end := run(t, 5, '-', '-'); end >= 15 {
		return end
	}
	return 0
}

func privateKey(t []byte) int {
	const head, tail, foot = "-----BEGIN ", "PRIVATE KEY-----", "-----END "
	if !begins(t, head) {
		return 0
	}
	p := len(head)
	for ; !begins(t[p:], tail); p++ {
		if p >= 43 || p == len(t) || t[p] != ' ' && !upper(t[p]) {
			return 0
		}
	}
	if p = find(t, p+len(tail), foot); p == len(t) {
		return p
	}
	return min(find(t, p+len(foot), "-----")+5, len(t))
}

// find returns where a text of dashes stands from `at` on, or the length of t.
func find(t []byte, at int, what string) int {
	for ; at < len(t); at++ {
		if t[at] == '-' && begins(t[at:], what) {
			return at
		}
	}
	return len(t)
}

// secret returns the kind of the secret that begins at `at`, and where it ends, or 0.
func secret(t []byte, at int) (kind, end int) {
	switch rest := t[at:]; {
	case t[at] == '-':
		kind, end = 4, privateKey(rest)
	case at > 0 && gw.IsWord(t[at-1]):
	case t[at] == 'A':
		kind, end = 0, aws(rest)
	case t[at] == 'g':
		kind, end = 1, github(rest)
	case t[at] == 's':
		kind, end = 2, api(rest)
	default:
		kind, end = 3, slack(rest)
	}
	if end > 0 {
		end += at
	}
	return kind, end
}

// candidate returns the first place from `at` on where a secret could begin. It is apart from what is done there: Go's
// compiler makes one loop of a whole function, which is paid for by all that stands in it.
//
//go:noinline
func candidate(t []byte, at int) int {
	for ; at+1 < len(t); at++ {
		if next := t[at+1]; next == 'K' || next == 'S' || next == 'h' || next == 'k' || next == 'o' || next == '-' {
			if c := t[at]; c == 'A' || c == 'g' || c == 's' || c == 'x' || c == '-' {
				return at
			}
		}
	}
	return len(t)
}

// redact returns the kinds that a text holds, as bits, and the text without them.
func redact(t []byte) (kinds uint, out []byte) {
	done := 0
	for i := candidate(t, 0); i < len(t); i = candidate(t, i) {
		kind, end := secret(t, i)
		if end == 0 {
			i++
			continue
		}
		kinds |= 1 << kind
		out = cut(out, t[done:i], names[kind])
		done, i = end, end
	}
	if kinds == 0 {
		return 0, nil
	}
	return kinds, append(out, t[done:]...)
}

//go:noinline
func cut(out, before []byte, name string) []byte {
	return append(append(append(append(out, before...), "[redacted:"...), name...), ']')
}

func judge(c gw.Context, v *gw.Verdict) {
	edit, kinds, held := gw.NewEdit(c.Body()), uint(0), false
	for w := c.Walk(); w.Next(); {
		if w.Kind == gw.Number {
			continue
		}
		found, out := redact(w.Text)
		kinds |= found
		switch {
		case found == 0:
		case w.Kind == gw.Key:
			held = true
		default:
			edit.Replace(w, out)
		}
	}
	for i, name := range names {
		if kinds>>i&1 == 1 {
			v.Label("secret:" + name)
		}
	}
	switch {
	case held:
		v.Deny("secret_in_key", "a key of the JSON holds a secret")
	case kinds != 0:
		v.Reason("secrets_redacted")
		v.Rewrite(edit.Done())
	}
}

//go:wasmexport gw_decide
func decide(_, size uint32) uint64 { return gw.Judge(size, judge) }

//go:wasmexport gw_on_response
func onResponse(_, size uint32) uint64 { return gw.Judge(size, judge) }

func main() {}
