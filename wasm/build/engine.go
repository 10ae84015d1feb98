package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Features are the parts of WebAssembly that package wasm/meter lets through.
const Features = api.CoreFeaturesV2 &^ api.CoreFeatureSIMD

// Config is how child and gateway alike configure the engine. Code made under one configuration must not run under another.
func Config(pages uint32) wazero.RuntimeConfig {
	return configure(wazero.NewRuntimeConfigCompiler(), pages)
}

// Interpreter is Config for the engine's interpreter, which shares no code with its compiler.
func Interpreter(pages uint32) wazero.RuntimeConfig {
	return configure(wazero.NewRuntimeConfigInterpreter(), pages)
}

func configure(c wazero.RuntimeConfig, pages uint32) wazero.RuntimeConfig {
	return c.WithCoreFeatures(Features).WithMemoryLimitPages(pages).WithDebugInfoEnabled(false).WithCloseOnContextDone(false)
}

// shelf is where the engine keeps native code beside its memory. It is the interface of wazero's internal/filecache, whose
// only implementation there keeps plain files.
type shelf interface {
	Get(key [32]byte) (content io.ReadCloser, ok bool, err error)
	Add(key [32]byte, content io.Reader) error
	Delete(key [32]byte) error
}

var errEngine = errors.New("wasm/build: the engine's cache has another shape than this package was written for")

// cacheOn returns a compilation cache of wazero that keeps its code on s. wazero offers files only, which would part what
// was verified from what is loaded; so the field is set that NewCompilationCacheWithDir sets. That it is there, that s fits
// and that the engine asks it is checked here and by identify: an engine of another shape is an error, never another cache.
func cacheOn(s shelf) (wazero.CompilationCache, error) {
	c := wazero.NewCompilationCache()
	v := reflect.ValueOf(c)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, errEngine
	}
	f := v.Elem().FieldByName("fileCache")
	if !f.IsValid() || f.Kind() != reflect.Interface || !reflect.TypeOf(s).Implements(f.Type()) {
		return nil, errEngine
	}
	reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(s))
	return c, nil
}

// capture is a shelf that is empty, and holds on to the one thing that is put there.
type capture struct {
	slot [32]byte
	code []byte
	full bool
}

func (c *capture) Get([32]byte) (io.ReadCloser, bool, error) { return nil, false, nil }
func (c *capture) Delete([32]byte) error                     { return errEngine }

func (c *capture) Add(key [32]byte, content io.Reader) (err error) {
	c.slot, c.full = key, true
	c.code, err = io.ReadAll(content)
	return err
}

// compile makes native code in this very process.
func compile(ctx context.Context, module []byte, pages uint32) (*capture, error) {
	out := &capture{}
	cache, err := cacheOn(out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = cache.Close(ctx) }() // frees memory, and has nothing else to fail at
	r := wazero.NewRuntimeWithConfig(ctx, Config(pages).WithCompilationCache(cache))
	defer func() { _ = r.Close(ctx) }()
	if _, err := r.CompileModule(ctx, module); err != nil {
		return nil, err
	}
	if !out.full {
		return nil, errEngine
	}
	return out, nil
}

// engine is what tells one engine's code from another's.
type engine struct {
	id   [32]byte
	head []byte // what all its code begins with: a magic and its version
}

// name is what an entry of the cache is called: a digest of everything its code depends on.
type name [32]byte

// identify asks the engine for the code of an empty module. How it calls that depends on the processor's features as the
// engine sees them, what it answers on its version. Where it does not know its version, the program's build does.
func identify() (engine, error) {
	empty, err := compile(context.Background(), []byte("\x00asm\x01\x00\x00\x00"), 1)
	if err != nil {
		return engine{}, fmt.Errorf("identify the engine: %w", err)
	}
	head, err := header(empty.code)
	if err != nil {
		return engine{}, err
	}
	h := sha256.New()
	for _, part := range []string{
		string(empty.slot[:]), string(empty.code), runtime.GOARCH, runtime.GOOS, runtime.Version(), library(),
	} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return engine{[32]byte(h.Sum(nil)), head}, nil
}

// header is the part of native code that tells magic and version: 6 bytes, a length, and as many bytes.
func header(code []byte) ([]byte, error) {
	const magic = "WAZEVO"
	if !bytes.HasPrefix(code, []byte(magic)) || len(code) <= len(magic) || len(code) < len(magic)+1+int(code[len(magic)]) {
		return nil, errEngine
	}
	return code[:len(magic)+1+int(code[len(magic)])], nil
}

// library is the engine's module with its checksum, as the program was built with it.
func library() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, d := range info.Deps {
		if d.Path != "github.com/tetratelabs/wazero" {
			continue
		}
		if d.Replace != nil {
			d = d.Replace
		}
		return strings.Join([]string{d.Path, d.Version, d.Sum}, " ")
	}
	return info.Main.Path + info.Main.Version
}

func (e engine) name(j Job) name {
	module := j.digest
	if module == ([32]byte{}) {
		module = sha256.Sum256(j.Module)
	}
	h := sha256.New()
	h.Write(e.id[:])
	h.Write(module[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(j.Pages)))
	return name(h.Sum(nil))
}

var errUnprepared = errors.New("the engine asked for code that was not made for it")

// loader is a shelf that holds only what is being loaded. Asked for anything else it fails, so that the engine never
// compiles in this process.
type loader struct {
	cache wazero.CompilationCache

	mu    sync.Mutex // guards what follows
	ready map[[32]byte]*loading
}

type loading struct {
	code  []byte
	users int
}

func newLoader() (*loader, error) {
	l := &loader{ready: make(map[[32]byte]*loading)}
	var err error
	if l.cache, err = cacheOn(l); err != nil {
		return nil, err
	}
	// The first runtime makes the engine, which stays with the cache: better now than with the first filter.
	ctx := context.Background()
	return l, wazero.NewRuntimeWithConfig(ctx, Config(1).WithCompilationCache(l.cache)).Close(ctx)
}

func (l *loader) load(ctx context.Context, r wazero.Runtime, module []byte, a Artifact) (m wazero.CompiledModule, err error) {
	l.shelve(a)
	defer l.clear(a)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine fell over the code: %.200v", p)
		}
	}()
	return r.CompileModule(ctx, module)
}

func (l *loader) shelve(a Artifact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready[a.slot] == nil {
		l.ready[a.slot] = &loading{code: a.code}
	}
	l.ready[a.slot].users++
}

func (l *loader) clear(a Artifact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.ready[a.slot]; e.users > 1 {
		e.users--
		return
	}
	delete(l.ready, a.slot)
}

// Get is what the engine calls for code.
func (l *loader) Get(key [32]byte) (io.ReadCloser, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.ready[key]
	if e == nil {
		return nil, false, errUnprepared
	}
	return io.NopCloser(bytes.NewReader(e.code)), true, nil
}

// Add is what the engine calls with code it has made itself, which it must not.
func (l *loader) Add([32]byte, io.Reader) error { return errUnprepared }

// Delete is what the engine calls for code of another version, before it would compile.
func (l *loader) Delete([32]byte) error { return errUnprepared }
