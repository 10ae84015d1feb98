package policies

// CheckText refuses text that this package would not have parsed: too deep, too long, or read differently by different
// readers. An error is Problems. Who parses Cedar beside this package asks it first.
func CheckText(file string, text []byte) error {
	if p := checkText(file, string(text)); p != nil {
		return Problems{*p}
	}
	return nil
}
