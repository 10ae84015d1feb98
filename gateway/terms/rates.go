package terms

import (
	"sync"
	"time"
)

// spans is into how many slots a rate's span is cut. A call counts until the slot it fell into has left the span for
// good, so a rate is never exceeded, and room comes back at most a 64th of the span late.
const spans = 64

// maxRates bounds the rates of one set of terms, and the windows of one key.
const maxRates = 8

// fullWait is told to those who find no free counter.
const fullWait = time.Minute

// counters counts the calls of each key, in memory: a restart begins anew.
type counters struct {
	limit int

	mu    sync.Mutex
	keys  map[string]*counter
	swept time.Time // when idle keys were last looked for
}

// counter has one window for each span that its key was counted in.
type counter struct{ windows []*window }

func newCounters(limit int) counters { return counters{limit: limit, keys: map[string]*counter{}} }

func (c *counters) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys)
}

// Allow counts a call against every rate of t, or against none when one of them has no room; then wait is how long until
// all have. key names what is counted together. nil terms, and terms without rates, allow everything.
func (k *Keeper) Allow(key string, t *Terms, now time.Time) (wait time.Duration, ok bool) {
	if t == nil || len(t.Rates) == 0 {
		return 0, true
	}
	c := &k.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.keys[key]
	if of == nil {
		if len(c.keys) >= c.limit && !c.sweep(now) {
			return fullWait, false
		}
		of = &counter{}
		c.keys[key] = of
	}
	return of.take(t.Rates, now)
}

// sweep drops the keys that no call counts for any more and tells whether there is room now. It looks at most once a
// second, since that costs a walk over all of them.
func (c *counters) sweep(now time.Time) bool {
	if d := now.Sub(c.swept); d >= 0 && d < time.Second {
		return false
	}
	c.swept = now
	for key, of := range c.keys {
		if of.idle(now) {
			delete(c.keys, key)
		}
	}
	return len(c.keys) < c.limit
}

func (c *counter) idle(now time.Time) bool {
	for _, w := range c.windows {
		if w.advance(now); w.sum > 0 {
			return false
		}
	}
	return true
}

func (c *counter) take(rates []Rate, now time.Time) (wait time.Duration, ok bool) {
	ok = true
	for _, r := range rates {
		if r.Per <= 0 || r.Max <= 0 {
			return max(r.Per, fullWait), false // allows nothing
		}
		if w := c.window(r.Per, rates); !w.room(r.Max, now) {
			wait, ok = max(wait, w.wait(r.Max, now)), false
		}
	}
	if !ok {
		return wait, false
	}
	for _, w := range c.windows {
		if has(rates, w.per) {
			w.count[w.last%(spans+1)]++
			w.sum++
		}
	}
	return 0, true
}

func has(rates []Rate, per time.Duration) bool {
	for _, r := range rates {
		if r.Per == per {
			return true
		}
	}
	return false
}

// window finds the key's window of that span or opens one. Windows that no rate asks for any more make room.
func (c *counter) window(per time.Duration, rates []Rate) *window {
	for _, w := range c.windows {
		if w.per == per {
			return w
		}
	}
	if len(c.windows) >= maxRates {
		kept := c.windows[:0]
		for _, w := range c.windows {
			if has(rates, w.per) {
				kept = append(kept, w)
			}
		}
		clear(c.windows[len(kept):])
		c.windows = kept
	}
	w := &window{per: per, width: (int64(per) + spans - 1) / spans}
	c.windows = append(c.windows, w)
	return w
}

// window counts the calls of one span. Slot i is the time from i*width on, in nanoseconds since 1970.
type window struct {
	per   time.Duration
	width int64
	last  int64 // the newest slot; time that runs backwards stays in it
	sum   int64
	count [spans + 1]uint32 // slots last-spans to last
}

func (w *window) advance(now time.Time) {
	at := now.UnixNano() / w.width
	if at-w.last > spans {
		w.count, w.sum, w.last = [spans + 1]uint32{}, 0, at
		return
	}
	for ; w.last < at; w.last++ {
		next := &w.count[(w.last+1)%(spans+1)]
		w.sum -= int64(*next)
		*next = 0
	}
}

func (w *window) room(most int, now time.Time) bool {
	w.advance(now)
	return w.sum < int64(most)
}

// wait is how long until enough slots have left the span. The window is at now.
func (w *window) wait(most int, now time.Time) time.Duration {
	left := w.sum
	for i := w.last - spans; i <= w.last; i++ {
		if left -= int64(w.count[(i+spans+1)%(spans+1)]); left < int64(most) {
			return max(time.Duration((i+spans+1)*w.width-now.UnixNano()), 1)
		}
	}
	return w.per
}
