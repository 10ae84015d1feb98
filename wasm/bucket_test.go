package wasm

import (
	"testing"
	"time"
)

// TestABucketGivesItsRateAndOneSecondMore over any stretch of time.
func TestABucketGivesItsRateAndOneSecondMore(t *testing.T) {
	const rate = 1600
	now := time.Unix(1_700_000_000, 0)
	b := bucket{rate: rate, have: rate, at: now}
	spend := func() (n int64) {
		for b.ready.Load() > 0 || b.draw(now) {
			b.ready.Add(-10)
			n += 10
		}
		return n
	}
	if n := spend(); n != rate {
		t.Errorf("at first %d", n)
	}
	if n := spend(); n != 0 {
		t.Errorf("at once again %d", n)
	}
	now = now.Add(time.Second / 4)
	if n := spend(); n != rate/4 {
		t.Errorf("after a quarter of a second %d", n)
	}
	now = now.Add(time.Hour)
	if n := spend(); n != rate {
		t.Errorf("after an hour %d", n)
	}
	b.ready.Add(-rate) // the last call took far more than there was
	now = now.Add(time.Second / 2)
	if n := spend(); n != 0 {
		t.Errorf("half of a debt is paid, and %d given", n)
	}
	now = now.Add(time.Second)
	if n := spend(); n != rate/2 {
		t.Errorf("the debt is paid, and %d given", n)
	}
	now = now.Add(-time.Minute)
	if n := spend(); n != 0 {
		t.Errorf("when the clock goes back %d", n)
	}
}
