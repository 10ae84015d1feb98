package demo

// CheckArguments checks arguments against a schema as the tools do.
func CheckArguments(schema string, args []byte) error {
	s, err := parseSchema(schema)
	if err != nil {
		return err
	}
	var v any
	return s.read(args, &v)
}
