package pipeline

import (
	"context"
	"encoding/hex"
	"slices"
)

// An Interimer also looks at what a server says before its answer, a notification with its params, and returns what may be
// handed on of it; and at what a client answers to the server's questions.
type Interimer interface {
	CheckInterim(ctx context.Context, c *Call, method string, params []byte) ([]byte, error)
	CheckInput(ctx context.Context, c *Call, input []byte) error
}

// Input has what a client answers to a question of the server's pass the same stages. It is for a Forwarder's use too.
func (l *Line) Input(ctx context.Context, c *Call, input []byte) error {
	for _, v := range l.Stages {
		r, ok := v.(Interimer)
		if !ok {
			continue
		}
		if err := l.guard(v.Name(), func() error { return r.CheckInput(ctx, c, input) }); err != nil {
			return err
		}
	}
	return nil
}

// maxQuestions bounds the questions that a record names.
const maxQuestions = 8

// Said notes for the record that the client answered a question of the server's: its name and the answer's salted digest.
func (c *Call) Said(method string, answer []byte) {
	if c.questions++; c.questions > maxQuestions {
		return
	}
	digest := saltedDigest(&c.seal, c.Salt, answer)
	if c.said != "" {
		c.said += "; "
	}
	c.said += "answered " + method + " with " + hex.EncodeToString(digest[:])
}

// Interim has what a server says before its answer pass the stages that look at replies, last stage first. It returns what
// may be handed on; an error says that this may not. It is for a Forwarder's use, while it forwards the call.
func (l *Line) Interim(ctx context.Context, c *Call, method string, params []byte) ([]byte, error) {
	for _, v := range slices.Backward(l.Stages) {
		r, ok := v.(Interimer)
		if !ok {
			continue
		}
		err := l.guard(v.Name(), func() (err error) { params, err = r.CheckInterim(ctx, c, method, params); return err })
		if err != nil {
			return nil, err
		}
	}
	return params, nil
}
