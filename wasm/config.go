package wasm

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/gatewright/gatewright/wasm/build"
)

// pageSize is the size of a page of WebAssembly memory in bytes.
const pageSize = 1 << 16

// Config bounds what filters may cost. Each bound holds for one filter, not for all of them together.
type Config struct {
	// Fuel is what one decision may spend (default 4,000,000), in units of about 1 ns and never more than 15 ns. A unit is a
	// fixed price of instructions, the same on every machine: a decision that fits once fits always.
	Fuel int64
	// ByteFuel is added to Fuel for each byte of input (default 512), so that the length of an honest call alone cannot
	// exhaust a filter that reads it once.
	ByteFuel int64
	// InitFuel is what starting an instance, gw_init included, may spend (default 50,000,000).
	InitFuel int64
	// MemoryPages bounds one instance's memory in pages of 64 KiB (default 256, which is 16 MiB; at most 65,536).
	MemoryPages uint32
	// Depth bounds how many calls of a filter's functions may be open at once (default 1,024).
	Depth int
	// MaxModule is the largest module in bytes (default 1 MiB), MaxContext the largest input (default 1 MiB) and MaxVerdict
	// the largest answer beside a rewritten body (default 16 KiB).
	MaxModule, MaxContext, MaxVerdict int
	// Instances bounds how many calls one filter judges at once (default twice the processors); each holds its own memory.
	// More calls wait for up to Wait (default 100ms) and are then refused as busy.
	Instances int
	Wait      time.Duration
	// Traps within TrapWindow (default 5 in 1m) break a filter: its calls are refused at once for BreakFor (default 10s).
	Traps      int
	TrapWindow time.Duration
	BreakFor   time.Duration
	// Logger takes what filters write through gw.log; nil drops it. Danger: filters see arguments and results, and may write
	// them.
	Logger *slog.Logger
	// Compiler compiles modules where they can hurt nobody, and outlives the runtime. Nil compiles in this process. Danger:
	// that is for modules of one's own, since nothing bounds it.
	Compiler *build.Compiler
}

// DefaultConfig returns the documented defaults.
func DefaultConfig() Config {
	return Config{
		Fuel: 4_000_000, ByteFuel: 512, InitFuel: 50_000_000, MemoryPages: 256, Depth: 1024,
		MaxModule: 1 << 20, MaxContext: 1 << 20, MaxVerdict: 16 << 10,
		Instances: 2 * runtime.GOMAXPROCS(0), Wait: 100 * time.Millisecond,
		Traps: 5, TrapWindow: time.Minute, BreakFor: 10 * time.Second,
	}
}

// Hard bounds, which keep sums of these numbers far from overflowing.
const (
	maxFuel  = 1 << 48
	maxPages = 1 << 16
	maxBytes = 1 << 30
	maxCount = 1 << 20
)

// Validate refuses values that leave something without a bound.
func (c Config) Validate() error {
	for _, n := range []struct {
		name  string
		value int64
		min   int64
		max   int64
	}{
		{"Fuel", c.Fuel, 1, maxFuel},
		{"ByteFuel", c.ByteFuel, 0, 1 << 16},
		{"InitFuel", c.InitFuel, 1, maxFuel},
		{"MemoryPages", int64(c.MemoryPages), 1, maxPages},
		{"Depth", int64(c.Depth), 1, maxCount},
		{"MaxModule", int64(c.MaxModule), 1, maxBytes},
		{"MaxContext", int64(c.MaxContext), 1, maxBytes},
		{"MaxVerdict", int64(c.MaxVerdict), 1, maxBytes},
		{"Instances", int64(c.Instances), 1, maxCount},
		{"Traps", int64(c.Traps), 1, maxCount},
	} {
		if n.value < n.min || n.value > n.max {
			return fmt.Errorf("wasm: %s is %d, want %d to %d", n.name, n.value, n.min, n.max)
		}
	}
	if c.Wait <= 0 || c.TrapWindow <= 0 || c.BreakFor <= 0 {
		return errors.New("wasm: every duration must be positive")
	}
	return nil
}
