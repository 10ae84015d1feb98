package abi

// Refusal ends a guest that asks of its host what it does not give. What says what, in words for the guest's author, and holds
// no byte of the call.
type Refusal struct{ What string }

// Error names what was refused.
func (r *Refusal) Error() string { return "the host refuses: " + r.What }

// Heir is a Guest that learns something on the host's side while it is set up, which all instances of the module have to know:
// Init runs in the first one only. Legacy is asked once, after Init; Inherit tells it to each further instance. What is
// inherited is shared and never changes.
type Heir interface {
	Guest
	Legacy() any
	Inherit(legacy any)
}
