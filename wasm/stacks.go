package wasm

import (
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

// called is the module of an instance to its dialect. It notes the native stack of each function that the host is given to
// call: the engine makes one for each, of 10 KiB, lets it grow as deep calls need it, to some MiB, and keeps it as long as the
// instance.
type called struct {
	api.Module
	in *instance
}

// ExportedFunction is the module's.
func (c called) ExportedFunction(name string) api.Function {
	f := c.Module.ExportedFunction(name)
	if s := stackOf(f); s != nil {
		c.in.stacks = append(c.in.stacks, s)
	}
	return f
}

// stackOf is where a function has its stack, nil where the engine has another shape than this was written for, as its
// interpreter has.
func stackOf(f api.Function) *[]byte {
	at := reflect.ValueOf(f)
	if at.Kind() != reflect.Pointer || at.IsNil() {
		return nil
	}
	stack := member(at, "stack")
	if !stack.IsValid() || stack.Type() != reflect.TypeFor[[]byte]() {
		return nil
	}
	return (*[]byte)(stack.Addr().UnsafePointer())
}

// weighStacks takes what the instance's native stacks have grown by of the tenant's memory.
func (in *instance) weighStacks() error {
	size := int64(0)
	for _, s := range in.stacks {
		size += int64(len(*s))
	}
	if size == in.stacked {
		return nil
	}
	if err := in.tank.filter.take(size - in.stacked); err != nil { // stacks never shrink
		return err
	}
	in.taken, in.stacked = in.taken+size-in.stacked, size
	return nil
}
