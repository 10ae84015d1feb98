package pipeline_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// TestWhatGoesOnOfMetaIsOnRecord by a digest that the caller can make with its salt, as filters left it, also when it is refused.
func TestWhatGoesOnOfMetaIsOnRecord(t *testing.T) {
	for _, refused := range []bool{false, true} {
		h := build(t, stage{name: "filter", check: func(c *pipeline.Call) error {
			if c.Extra = []byte(`{"a":"***"}`); refused {
				return pipeline.Deny(pipeline.FilterDenied, "no")
			}
			return nil
		}})
		c := call()
		c.Extra = []byte(`{"a":"secret"}`)
		h.run(c)
		sum := sha256.Sum256(append(c.Salt[:], c.Extra...))
		if r := h.book.records[0]; !strings.Contains(r.Detail, "with _meta "+hex.EncodeToString(sum[:])) {
			t.Errorf("refused %v: the record says %q", refused, r.Detail)
		}
		if h.up.calls == 0 != refused {
			t.Errorf("refused %v: %d went out", refused, h.up.calls)
		}
	}
	h := build(t)
	if h.run(call()); h.book.records[0].Detail != "" {
		t.Errorf("without: %q", h.book.records[0].Detail)
	}
}
