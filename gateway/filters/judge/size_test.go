package judge

import (
	"errors"
	"strings"
	"testing"
)

func TestLabelsCountAsVectors(t *testing.T) {
	if err := checkVectors([]Vector{{Labels: []string{strings.Repeat("a", 900<<10)}}}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
