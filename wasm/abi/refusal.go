package abi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Refusal ends a guest that asks of its host what it does not give. What says what, in words for the guest's author, and holds
// no byte of the call.
type Refusal struct{ What string }

// Error names what was refused.
func (r *Refusal) Error() string { return "the host refuses: " + r.What }

// Heir is a Guest that learns something on the host's side while it is set up, which all instances of the module have to know:
// Init runs in the first one only. Legacy is asked once, after Init, with the phases that the guest judges; Inherit tells it to
// each further instance. What is inherited is shared and never changes.
type Heir interface {
	Guest
	Legacy() (legacy any, judges Phases)
	Inherit(legacy any)
}

// CleanMessage makes of any text a message for people as verdicts have it: valid, graphic, and at most 256 bytes long.
func CleanMessage(text string) string {
	var b strings.Builder
	for _, r := range text {
		if !unicode.IsGraphic(r) || r == utf8.RuneError {
			r = ' '
		}
		if b.Len()+utf8.RuneLen(r) > maxMessage {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
