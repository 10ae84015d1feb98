package intent

import "errors"

// Reason is the closed list of refusal codes of this package. A reason is shown to a caller whose
// grant is at stake and stands in the ledger, so its text never changes once released.
type Reason string

// The reasons a plan, a token, a proof or a request is refused.
const (
	TokenMalformed Reason = "token_malformed" // not three strict base64url parts of strict JSON, or a claim is missing, doubled or of the wrong type
	TokenAlg       Reason = "token_alg"       // header alg is not EdDSA
	TokenType      Reason = "token_type"      // header typ is not intent+jwt
	TokenSignature Reason = "token_signature" // the pinned key did not make this signature
	TokenIssuer    Reason = "token_issuer"    // issuer not pinned
	TokenKey       Reason = "token_key"       // issuer pinned, key id not, or past its last day
	TokenAudience  Reason = "token_audience"
	TokenExpired   Reason = "token_expired"
	TokenNotYet    Reason = "token_not_yet"  // nbf or iat lies in the future
	TokenLifetime  Reason = "token_lifetime" // lives longer than allowed, or longer than its plan
	TokenRevoked   Reason = "token_revoked"
	BearerMismatch Reason = "bearer_mismatch" // token was issued to somebody else
	PlanInvalid    Reason = "plan_invalid"    // a draft or stored plan breaks a rule
	PlanMismatch   Reason = "plan_mismatch"   // token and plan are not of each other
	PlanRevoked    Reason = "plan_revoked"
	PlanExpired    Reason = "plan_expired"
	PlanInactive   Reason = "plan_inactive" // completed or failed
	LeafMalformed  Reason = "leaf_malformed"
	ProofLength    Reason = "proof_length"
	ProofMismatch  Reason = "proof_mismatch"
	StepUnknown    Reason = "step_unknown"  // no step with this index
	ToolMismatch   Reason = "tool_mismatch" // no step for this operation, server and tool
	SchemaChanged  Reason = "schema_changed"
	ArgsMismatch   Reason = "args_mismatch"
	StepUsed       Reason = "step_used"
	StepOrder      Reason = "step_order" // a step it comes after is not done
	GrantInvalid   Reason = "grant_invalid"
)

// Error is every refusal of this package. Msg and Hint never hold an argument's value or any part
// of a token, so both may be shown and logged.
type Error struct {
	Reason  Reason
	Msg     string
	Hint    string // what the caller can do about it; may be empty
	Pointer string // RFC 6901 pointer into the draft or the arguments; empty when none applies
}

// Error gives reason, place and message on one line.
func (e *Error) Error() string {
	s := string(e.Reason)
	if e.Pointer != "" {
		s += " at " + e.Pointer
	}
	return s + ": " + e.Msg
}

// Is matches another *Error of the same reason, so that errors.Is(err, &Error{Reason: R}) asks for R.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Reason == e.Reason
}

// ReasonOf returns the reason inside err, or "" when err is no refusal of this package.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

func refuse(r Reason, msg, hint string) *Error { return &Error{Reason: r, Msg: msg, Hint: hint} }

func invalid(at, msg, hint string) *Error {
	return &Error{Reason: PlanInvalid, Pointer: at, Msg: msg, Hint: hint}
}
