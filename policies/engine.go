package policies

type rule struct{}

// Engine answers Asks under one compiled bundle. It is immutable and safe for concurrent use; nil refuses everything.
type Engine struct{}

// Compile parses, validates and indexes a bundle against the tools a tenant can reach.
func Compile(b *Bundle, tools []ToolDef) (*Engine, error) { return &Engine{}, nil }

// Decide answers the Ask. Any fault refuses.
func (e *Engine) Decide(a *Ask) Decision { return Decision{} }
