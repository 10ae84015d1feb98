package pipeline

import (
	"context"
	"slices"
)

// An Interimer also looks at what a server says before its answer, a notification with its params, and returns what may be
// handed on of it.
type Interimer interface {
	CheckInterim(ctx context.Context, c *Call, method string, params []byte) ([]byte, error)
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
