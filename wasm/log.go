package wasm

import (
	"context"
	"log/slog"
)

// Bounds of what one call may log: lines beyond them are dropped. The price keeps a unit of fuel below its 15 ns.
const (
	maxLine   = 1 << 10 // bytes, of one line and of all of a call's lines
	logPrice  = 200     // units for a line that is dropped
	linePrice = 5_000   // units for one that is written
)

// Log writes a line of the filter's unless the call has logged enough. Level 0 is debug, 1 info, 2 warning, 3 error.
func (t *tank) Log(level int32, text []byte) {
	price := int64(logPrice)
	if t.filter.logs() && len(text) <= maxLine-t.logged {
		t.logged += max(len(text), 64)
		t.filter.log(level, text)
		price = linePrice
	}
	t.Charge(price)
}

// Option changes how one filter is loaded.
type Option func(*Filter)

// WithLog hands what the filter writes through gw.log to said, besides Config.Logger: level 0 is debug, 1 info, 2 warning, 3
// error. It is called while a call runs, from many goroutines. Text may hold anything, and what calls held.
func WithLog(said func(level int, text string)) Option { return func(f *Filter) { f.said = said } }

// logs says whether anybody listens.
func (f *Filter) logs() bool { return f.config.Logger != nil || f.said != nil }

// log writes one line of the filter's. Text handlers quote what is not printable.
func (f *Filter) log(level int32, text []byte) {
	level = min(max(level, 0), 3)
	if f.said != nil {
		f.said(int(level), string(text))
	}
	if f.config.Logger == nil {
		return
	}
	at := slog.LevelDebug + slog.Level(4*level)
	f.config.Logger.LogAttrs(context.Background(), at, "filter log", slog.String("filter", f.name), slog.String("text", string(text)))
}
