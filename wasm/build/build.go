// Package build compiles tenants' modules where it can hurt nobody: in a child process that the kernel bounds, and keeps what
// comes out in a sealed cache.
//
// The engine's compiler takes time and memory that no size of a module bounds, and nothing interrupts it. So the gateway
// starts its own program once more for each module that is new, with a hidden first argument (see Hook). That process gives
// up nearly everything before it reads its first byte: CPU time, memory, files and descriptors are bounded by the kernel, it
// has no environment, the lowest priority, and dies with the gateway.
//
// What it answers is native code that the gateway will execute. An entry of the cache is therefore sealed with HMAC-SHA-256
// under a key that is not beside it, over the code and over what it is the code of: module, engine, processor. An entry that
// was changed, cut or put under another's name is not loaded but compiled again. The bytes that were verified are the bytes
// the engine gets: they reach it in memory (see Compiler.Load), never by a file that could change in between.
// Beside the code lies the metered module, under the same seal and under the name of the module as it was given, so that one
// that was metered and compiled before is not metered again.
package build

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
)

// Bounds are what compiling one module may cost.
type Bounds struct {
	// CPU is processor time in whole seconds, user and system together.
	CPU time.Duration
	// Memory is in bytes, beside what the program itself has when it starts.
	Memory int64
	// Wall is time by the clock, waiting in the queue aside.
	Wall time.Duration
	// Code is the most native code in bytes.
	Code int64
}

// Options configure a Compiler. What is zero gets its default.
type Options struct {
	// Dir is the cache's folder. It is made when it is missing, and nobody else may look into it.
	Dir string
	// Key is the 32 secret bytes that entries are sealed with. It must stay the same for entries to outlive the process.
	Key []byte
	// Self is the program that is started; its main must call Hook. By default, and when it names this process's own file,
	// it is the very program that runs, even if another was put in its place meanwhile.
	Self []string
	// Small bounds a module's compilation (default 5s CPU, 1 GiB, 15s, 32 MiB), Large one of those that say Job.Large
	// (default 30s, 2 GiB, 90s, 128 MiB).
	Small, Large Bounds
	// Parallel is how many modules are compiled at once (default 1 on up to three processors, else 2).
	Parallel int
	// Queue is how many more may wait (default 32), TenantQueue how many of one tenant may wait or be compiled (default 4).
	Queue, TenantQueue int
	// CacheBytes bounds the cache's folder (default 1 GiB). What was used least recently goes first.
	CacheBytes int64
}

// The documented defaults.
const (
	defaultQueue       = 32
	defaultTenantQueue = 4
	defaultCacheBytes  = 1 << 30
)

// DefaultSmall and DefaultLarge are the documented bounds.
func DefaultSmall() Bounds {
	return Bounds{CPU: 5 * time.Second, Memory: 1 << 30, Wall: 15 * time.Second, Code: 32 << 20}
}

// DefaultLarge is for modules with a language's whole runtime inside, such as Go's.
func DefaultLarge() Bounds {
	return Bounds{CPU: 30 * time.Second, Memory: 2 << 30, Wall: 90 * time.Second, Code: 128 << 20}
}

func (o *Options) fill() error {
	if o.Dir == "" || len(o.Key) != keySize {
		return fmt.Errorf("wasm/build: want a folder and a key of %d bytes", keySize)
	}
	o.Self = pinned(o.Self)
	o.Small.fill(DefaultSmall())
	o.Large.fill(DefaultLarge())
	defaultTo(&o.Parallel, min(2, max(1, runtime.NumCPU()/2)))
	defaultTo(&o.Queue, defaultQueue)
	defaultTo(&o.TenantQueue, defaultTenantQueue)
	defaultTo(&o.CacheBytes, defaultCacheBytes)
	if o.Parallel < 0 || o.Queue < 0 || o.TenantQueue < 0 || o.CacheBytes < 0 {
		return errors.New("wasm/build: a bound is negative")
	}
	return errors.Join(o.Small.validate(), o.Large.validate())
}

func (b *Bounds) fill(d Bounds) {
	defaultTo(&b.CPU, d.CPU)
	defaultTo(&b.Memory, d.Memory)
	defaultTo(&b.Wall, d.Wall)
	defaultTo(&b.Code, d.Code)
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// validate refuses what the kernel could not hold a process to.
func (b Bounds) validate() error {
	if b.CPU < time.Second || b.Memory < 16<<20 || b.Wall < 100*time.Millisecond || b.Code < 1 {
		return fmt.Errorf("wasm/build: bounds %v, %d bytes, %v, %d bytes of code; want at least 1s, 16 MiB, 100ms and 1", b.CPU, b.Memory, b.Wall, b.Code)
	}
	return nil
}

// Job is a module to compile.
type Job struct {
	// Module is a metered module. Nothing but package wasm/meter may have made it: its counts are believed.
	Module []byte
	// Tenant is who waits in the queue for it.
	Tenant string
	// Large takes the larger bounds.
	Large bool
	// Pages is the engine's limit of memory, in pages of 64 KiB.
	Pages uint32

	digest [32]byte // of Module; zero when nobody has counted it yet
}

// Usage is what a compilation took of the child's process. Peak is its largest resident memory in bytes, sampled when it
// was killed and exact when it ended by itself.
type Usage struct {
	CPU, Wall time.Duration
	Peak      int64
}

// Artifact is native code that was made by the child, or that came from the cache and bears our seal: nobody but Compile
// makes one.
type Artifact struct {
	// Usage is zero for code from the cache.
	Usage
	// Cached says that the code came from the cache.
	Cached bool
	// Unsaved says why the code could not be kept in the cache, nil when it is there.
	Unsaved error

	slot [32]byte // what the engine calls it
	code []byte
}

// Size is the artifact's length in bytes.
func (a Artifact) Size() int { return len(a.code) }

// Compiler compiles modules in child processes. Many goroutines may use it at once.
type Compiler struct {
	options Options
	engine  engine
	cache   *cache
	queue   *Queue
	loader  *loader
	counts  counts

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	flights map[flightKey]*flight
	closed  bool
}

// New opens the cache, and throws away what an earlier process left half written.
func New(o Options) (*Compiler, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	e, err := identify()
	if err != nil {
		return nil, err
	}
	l, err := newLoader()
	if err != nil {
		return nil, err
	}
	c := &Compiler{
		options: o, engine: e, loader: l, queue: NewQueue(o.Parallel, o.Queue, o.TenantQueue), flights: make(map[flightKey]*flight),
	}
	if c.cache, err = openCache(o.Dir, o.Key, o.CacheBytes, &c.counts); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Close kills what is being compiled and waits until it is gone. Code that was loaded stays.
func (c *Compiler) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.wg.Wait()
}

// Compile returns a module's native code, from the cache when it is there. Several calls of a tenant for one module compile it
// once.
// Every error that is the module's or the moment's is an *Error.
func (c *Compiler) Compile(ctx context.Context, j Job) (Artifact, error) {
	if !supported {
		return Artifact{}, refuse(Platform, Usage{}, "compiling uploads needs Linux, this is "+runtime.GOOS)
	}
	n := c.engine.name(j)
	if a, ok := c.cache.get(n); ok {
		return a, nil
	}
	return c.join(ctx, n, j)
}

// Cache is what a wazero.Runtime must be configured with for Load.
func (c *Compiler) Cache() wazero.CompilationCache { return c.loader.cache }

// Load compiles the job's module and hands the code to a runtime made with Cache and Config. The runtime itself never
// compiles: without our code it returns an error.
func (c *Compiler) Load(ctx context.Context, r wazero.Runtime, j Job) (wazero.CompiledModule, Artifact, error) {
	a, err := c.Compile(ctx, j)
	if err != nil {
		return nil, a, err
	}
	m, err := c.loader.load(ctx, r, j.Module, a)
	if err != nil {
		return nil, a, fmt.Errorf("load compiled code: %.300q", err.Error()) // its text quotes the module
	}
	return m, a, nil
}
