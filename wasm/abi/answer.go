package abi

import (
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Places in the flat form of a verdict, in bytes. Its texts lie anywhere in the filter's memory: each is a pointer and a
// length, of 32 bits each, little endian.
const (
	answerKind    = 1  // 1 pass, 2 deny, 3 rewrite; byte 0 is the version
	answerLabels  = 2  // how many; 8 bits
	answerScores  = 3  // how many; 8 bits
	answerReason  = 4  // text
	answerMessage = 12 // text
	answerBody    = 20 // text
	answerLabelAt = 28 // pointer to texts
	answerScoreAt = 32 // pointer to texts that a value of 32 bits follows each
	answerSize    = 36
	answerShort   = 4 // a verdict that has only the first four bytes
	textSize      = 8
	scoreSize     = 12
)

// Read fills v, which must be empty, from the answer that lies in memory at that place, in either form: one whose first byte is
// 1 is flat, any other is JSON. p is what the filter was asked about. Nothing of memory is kept. An error is ErrPointer or a
// *BadVerdict; v then holds nothing to rely on.
func (v *Verdict) Read(memory []byte, at, size uint32, p Phase, l Limits) error {
	answer, ok := part(memory, at, size)
	if !ok {
		return ErrPointer
	}
	if size == 0 || answer[0] != Version {
		return v.ReadJSON(answer, p, l)
	}
	err := v.readFlat(memory, answer, l)
	if err != nil && !errors.Is(err, ErrPointer) {
		return &BadVerdict{err}
	}
	return err
}

// part is that piece of memory, if it lies there whole.
func part(memory []byte, at, size uint32) ([]byte, bool) {
	if uint64(at)+uint64(size) > uint64(len(memory)) {
		return nil, false
	}
	return memory[at : at+size : at+size], true
}

// textAt is the text that b begins with says. An empty text is nil, wherever it points.
func textAt(memory, b []byte) ([]byte, error) {
	at, size := order.Uint32(b), order.Uint32(b[4:])
	if size == 0 {
		return nil, nil
	}
	text, ok := part(memory, at, size)
	if !ok {
		return nil, ErrPointer
	}
	return text, nil
}

// list is the list of n entries that b begins with a pointer to. An empty one is nil, wherever it is.
func list(memory, b []byte, n byte, size uint32) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	entries, ok := part(memory, order.Uint32(b), uint32(n)*size)
	if !ok {
		return nil, ErrPointer
	}
	return entries, nil
}

func (v *Verdict) readFlat(memory, b []byte, l Limits) error {
	if v.Kind = Kind(b[min(answerKind, len(b)-1)]); len(b) != answerSize && len(b) != answerShort {
		return fmt.Errorf("a flat verdict of neither %d nor %d bytes", answerShort, answerSize)
	}
	switch short := len(b) == answerShort; {
	case v.Kind < Pass || v.Kind > Rewrite:
		return errors.New("the verdict's number is not 1 (pass), 2 (deny) or 3 (rewrite)")
	case short && v.Kind == Rewrite:
		return errors.New("a rewrite without a body")
	case short && b[answerLabels]|b[answerScores] != 0:
		return errors.New("a short verdict with labels or scores")
	case short:
		return nil
	}
	if err := v.readTexts(memory, b); err != nil {
		return err
	}
	if err := v.readList(memory, b); err != nil {
		return err
	}
	body, err := textAt(memory, b[answerBody:])
	if err != nil {
		return err
	}
	return v.take(body, l)
}

// readTexts reads reason and message.
func (v *Verdict) readTexts(memory, b []byte) error {
	reason, err := textAt(memory, b[answerReason:])
	if err == nil && reason != nil {
		err = v.setReason(reason)
	}
	if err != nil {
		return err
	}
	message, err := textAt(memory, b[answerMessage:])
	if err == nil && message != nil {
		err = v.setMessage(message)
	}
	return err
}

// readList reads labels and scores.
func (v *Verdict) readList(memory, b []byte) error {
	labels, err := list(memory, b[answerLabelAt:], b[answerLabels], textSize)
	if err != nil {
		return err
	}
	scores, err := list(memory, b[answerScoreAt:], b[answerScores], scoreSize)
	if err != nil {
		return err
	}
	for ; len(labels) > 0; labels = labels[textSize:] {
		label, err := textAt(memory, labels)
		if err != nil {
			return err
		}
		if err := v.addLabel(label); err != nil {
			return err
		}
	}
	for ; len(scores) > 0; scores = scores[scoreSize:] {
		name, err := textAt(memory, scores)
		if err != nil {
			return err
		}
		if v.scored(name) {
			return errors.New("a score twice")
		}
		if err := v.addScore(name, int64(order.Uint32(scores[textSize:]))); err != nil {
			return err
		}
	}
	return nil
}

func (v *Verdict) scored(name []byte) bool {
	for i := range v.Scores {
		if v.Scores[i].Name == string(name) {
			return true
		}
	}
	return false
}

// take checks the body and the whole.
func (v *Verdict) take(body []byte, l Limits) error {
	limits := canon.DefaultLimits()
	limits.Bytes = l.Body
	if body != nil {
		if err := canon.Check(body, limits); err != nil {
			return misfit(err)
		}
		if body[0] != '{' || body[len(body)-1] != '}' {
			return errors.New("the body is no object")
		}
	}
	return v.settle(v.size()+len(body), body, l)
}

// size is what a flat verdict takes without its body, in bytes.
func (v *Verdict) size() int {
	n := answerSize + len(v.Reason) + len(v.Message)
	for _, label := range v.Labels {
		n += textSize + len(label)
	}
	for i := range v.Scores {
		n += scoreSize + len(v.Scores[i].Name)
	}
	return n
}
