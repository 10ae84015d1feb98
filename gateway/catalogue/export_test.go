package catalogue

// Schema opens the two ways of judging arguments to the tests.
type Schema struct{ s *schema }

// CompileSchema compiles checked JSON for arguments of the usual depth.
func CompileSchema(raw []byte) (Schema, error) {
	s, err := compileSchema(raw, argumentLimits().Depth)
	return Schema{s}, err
}

// Fast says whether the schema needs no library.
func (s Schema) Fast() bool { return s.s.fast != nil }

// Check judges as a tool does, CheckSlow by the library alone.
func (s Schema) Check(args []byte) error     { return s.s.check(args) }
func (s Schema) CheckSlow(args []byte) error { return s.s.checkSlow(args) }

// ErrRemote is why a schema that refers elsewhere is refused.
var ErrRemote = errRemote
