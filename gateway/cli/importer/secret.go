package importer

import (
	"net/url"
	"regexp"
	"strings"
)

// mask stands where a secret was.
const mask = "[secret]"

// What secrets are called, and what goes by such a name and is none.
var (
	secretName = regexp.MustCompile(`(?i)(token|secret|passw|pwd|api[-_]?key|access[-_]?key|private[-_]?key|auth|credential|bearer|cookie|^-{0,2}key$|^-{0,2}pat$)`)
	plainName  = regexp.MustCompile(`(?i)(file|path|dir|url|uri|mode|type|limit|name|method|provider|store|count|size|ttl|max[-_]?tokens|tokens)$`)
)

// shapes are what keys of well-known services look like, and a header with its value. Not every secret has a shape.
var shapes = regexp.MustCompile(`(gh[pousr]_|github_pat_|glpat-|sk-|sk_live_|sk_test_|rk_live_|xox[abeprs]-|npm_|pypi-|AIza|ya29\.|hf_|lin_api_|ntn_|secret_|ak_live_|ak_test_|AKIA|ASIA)[A-Za-z0-9_-]{12,}` +
	`|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY-----` +
	`|(?i:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}`)

var (
	userInfo    = regexp.MustCompile(`(://[^/@\s:]*:)[^/@\s]+@`)
	headerValue = regexp.MustCompile(`(?i)^([a-z0-9-]*(?:authorization|token|key|cookie|secret)[a-z0-9-]*\s*:\s*)(\S.*)$`)
	queryValue  = regexp.MustCompile(`([?&;])([^=&;#\s]+)=([^&;#\s]+)`)
)

func namesSecret(name string) bool {
	return secretName.MatchString(name) && !plainName.MatchString(name)
}

// masked hides in one word of a command line, or in an address, what looks like a secret, and says whether there was one.
func masked(word string) (string, bool) {
	before := word
	word = userInfo.ReplaceAllString(word, "${1}"+mask+"@")
	word = queryValue.ReplaceAllStringFunc(word, func(pair string) string {
		m := queryValue.FindStringSubmatch(pair)
		if name, err := url.QueryUnescape(m[2]); err != nil || namesSecret(name) || strings.EqualFold(name, "sig") || strings.EqualFold(name, "code") {
			return m[1] + m[2] + "=" + mask
		}
		return pair
	})
	if m := headerValue.FindStringSubmatch(word); m != nil && !strings.HasPrefix(m[2], mask) {
		word = m[1] + mask
	}
	if name, value, ok := strings.Cut(word, "="); ok && value != "" && !strings.ContainsAny(name, "/?:") && namesSecret(name) && !strings.HasPrefix(value, mask) {
		word = name + "=" + mask
	}
	word = shapes.ReplaceAllString(word, mask)
	return word, word != before
}

// maskedArgs hides what looks like a secret in the words after a program; at names the first that does, or -1.
func maskedArgs(args []string) (out []string, at int) {
	at = -1
	note := func(i int) {
		if at < 0 {
			at = i
		}
	}
	for i, word := range args {
		shown, hid := masked(word)
		if i > 0 && valueOf(args[i-1], word) {
			shown, hid = mask, true
		}
		if hid {
			note(i)
		}
		out = append(out, shown)
	}
	return out, at
}

// valueOf says whether a word is the secret that the flag before it asks for.
func valueOf(flag, word string) bool {
	return strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") && namesSecret(flag) && word != "" && !strings.HasPrefix(word, "-")
}
