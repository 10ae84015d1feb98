package demo

import (
	"context"
	"fmt"
	"time"
)

type waitFor struct {
	Seconds float64 `json:"seconds"`
}

type waited struct {
	Seconds float64 `json:"seconds"`
}

func timer() []tool {
	return []tool{
		describe("wait", "Wait",
			"Wait for some seconds and return. Ends early when the request is cancelled.",
			effect{readOnly: true, idempotent: true}, `{"type":"object","required":["seconds"],"additionalProperties":false,"properties":{
			"seconds":{"type":"number","minimum":0,"maximum":30}}}`,
			`{"type":"object","required":["seconds"],"additionalProperties":false,"properties":{"seconds":{"type":"number"}}}`, wait),
	}
}

func wait(ctx context.Context, in waitFor) (waited, error) {
	timer := time.NewTimer(time.Duration(in.Seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return waited(in), nil
	case <-ctx.Done():
		return waited{}, fmt.Errorf("wait: %w", ctx.Err())
	}
}
