package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/wasm/guests"
	sandbox "github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/filters"
)

// lent is how many calls are made before what they leave is put back. So the two are measured apart, as they are apart in a
// gateway that is not at its limit.
const lent = 16

// filters adds a language's guests as the gateway runs them.
func (b *bench) filters(ctx context.Context, language string, r *Report) error {
	c := sandbox.DefaultConfig()
	c.Instances = 2 * lent // enough that nobody else puts back what is to be measured
	host, err := sandbox.New(ctx, c)
	if err != nil {
		return err
	}
	b.closers = append(b.closers, func() error { return host.Close(ctx) })
	for _, guest := range [...]string{"noop", "loop", "calls"} {
		module, err := guests.Module(language, guest)
		if err != nil {
			return err
		}
		if guest != "noop" {
			if err := b.filter(ctx, host, language+" "+guest, module); err != nil {
				return err
			}
			continue
		}
		for _, size := range sizes {
			grown, err := withMemory(module, size)
			if err != nil {
				return err
			}
			name := fmt.Sprintf("%s noop %d", language, size)
			if err := b.filter(ctx, host, name, grown); err != nil {
				return err
			}
		}
	}
	return nil
}

// filter adds one, which must let the call pass.
func (b *bench) filter(ctx context.Context, host *sandbox.Runtime, name string, module []byte) error {
	f, err := host.Load(ctx, "guest", module, nil)
	if err != nil {
		return err
	}
	var v sandbox.Verdict
	if err := f.Decide(ctx, b.call, &v); err != nil || v.Kind != sandbox.Pass {
		return fmt.Errorf("%s: verdict %d (%w)", name, v.Kind, err)
	}
	if err := b.fill(ctx, f, &v); err != nil {
		return err
	}
	clock, err := clockCost()
	if err != nil {
		return err
	}
	b.add(name, func(n int) (p parts, err error) {
		for done := 0; done < n; done += lent {
			work, err := timed(func() error {
				for range lent {
					if err := f.Decide(ctx, b.call, &v); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return p, err
			}
			rest, err := timed(func() error { f.Settle(); return nil })
			if err != nil {
				return p, err
			}
			p.work, p.rest = p.work+max(work-clock, 0), p.rest+max(rest-clock, 0)
		}
		rounds := (n + lent - 1) / lent * lent
		p.work, p.rest = p.work*time.Duration(n)/time.Duration(rounds), p.rest*time.Duration(n)/time.Duration(rounds)
		return p, nil
	})
	return nil
}

// fill makes calls until the filter has all the instances that it may have. It does so on one processor: another one would put
// back what is left as fast as it is left, and no call would ever want one more. One whose calls are so long that they are
// interrupted never wants many, nor does it matter to it.
func (b *bench) fill(ctx context.Context, f *sandbox.Filter, v *sandbox.Verdict) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for tries := 0; tries < 10*lent && f.Stats().Instances < 2*lent; tries++ {
		for range 2 * lent {
			if err := f.Decide(ctx, b.call, v); err != nil {
				return err
			}
		}
		runtime.Gosched() // to who makes one more
		f.Settle()
	}
	return nil
}

// clockCost is what reading the thread's CPU time twice takes itself.
func clockCost() (time.Duration, error) {
	var all []float64
	for range 999 {
		d, err := timed(func() error { return nil })
		if err != nil {
			return 0, err
		}
		all = append(all, float64(d))
	}
	return time.Duration(rig.Median(all)), nil
}

// cached adds the loading of a module of some 20 KB whose code lies in the sealed cache on the disk.
func (b *bench) cached(ctx context.Context, r *Report) error {
	const name = "redact-secrets"
	module, ok := filters.Module(name)
	if !ok {
		return fmt.Errorf("there is no filter %q", name)
	}
	dir, err := os.MkdirTemp("", "gatewright-bench")
	if err != nil {
		return err
	}
	b.closers = append(b.closers, func() error { return os.RemoveAll(dir) })
	r.Cached = len(module)
	key := sha256.Sum256([]byte(dir))
	options := build.Options{Dir: dir, Key: key[:], Self: b.Self}
	if _, err := ready(ctx, options, module); err != nil { // fills the cache
		return err
	}
	b.add("cached", func(n int) (p parts, err error) {
		for range n {
			took, err := ready(ctx, options, module)
			if err != nil {
				return p, err
			}
			p.work += took
		}
		return p, nil
	})
	return nil
}

// ready is how long a filter takes from its bytes until it can judge, in a process that has not seen it before.
func ready(ctx context.Context, o build.Options, module []byte) (took time.Duration, err error) {
	compiler, err := build.New(o)
	if err != nil {
		return 0, err
	}
	defer compiler.Close()
	c := sandbox.DefaultConfig()
	c.Compiler = compiler
	host, err := sandbox.New(ctx, c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, host.Close(ctx)) }()
	return timed(func() error {
		_, err := host.Load(ctx, "cached", module, nil)
		return err
	})
}
