package identity

import "errors"

// ErrUnauthenticated is what every refusal of an Authenticate function is, and all that a caller may be told.
var ErrUnauthenticated = errors.New("unauthenticated")

// Reason is why a credential was refused, for the ledger and never for the caller.
type Reason string

// The closed list.
const (
	KeyMalformed   Reason = "key_malformed"
	KeyUnknown     Reason = "key_unknown"
	KeyWrong       Reason = "key_wrong" // the id is known, the secret is not its own
	KeyExpired     Reason = "key_expired"
	KeyRevoked     Reason = "key_revoked"
	AgentInactive  Reason = "agent_inactive"
	UserInactive   Reason = "user_inactive"
	OwnerInactive  Reason = "owner_inactive"
	OrgInactive    Reason = "organisation_inactive"
	StateUncertain Reason = "state_uncertain" // a commit failed and could not be read back yet

	JWTMalformed        Reason = "jwt_malformed" // or there is no login at all
	JWTIssuer           Reason = "jwt_issuer"
	JWTAudience         Reason = "jwt_audience"
	JWTKey              Reason = "jwt_key" // the issuer has no such key
	JWTSignature        Reason = "jwt_signature"
	JWTClaims           Reason = "jwt_claims" // one that is needed is absent or of another type
	JWTExpired          Reason = "jwt_expired"
	JWTEarly            Reason = "jwt_early"
	UserUnknown         Reason = "user_unknown"
	AgentUnknown        Reason = "agent_unknown"
	LoginUnknown        Reason = "login_unknown"
	JWTType             Reason = "jwt_type"            // not an access token, or of a type that is not taken
	JWTAlgorithm        Reason = "jwt_algorithm"       // not one that the authorization server may sign with
	JWTUnmapped         Reason = "jwt_unmapped"        // it stands for no agent here
	JWTBound            Reason = "jwt_bound"           // bound to a key or certificate that was not shown
	CertificateUnknown  Reason = "certificate_unknown" // nobody's here, or two agents'
	CertificateExpired  Reason = "certificate_expired"
	CertificateOther    Reason = "certificate_other"    // another agent's than the credential beside it
	CertificateRequired Reason = "certificate_required" // the organisation wants one
	HolderChanged       Reason = "holder_changed"       // agent, user and key do not belong together, or no longer
)

// Refusal is the error of the Authenticate functions. Its text is internal too.
type Refusal struct{ Reason Reason }

// Error names the reason.
func (r *Refusal) Error() string { return "unauthenticated: " + string(r.Reason) }

// Is makes every Refusal an ErrUnauthenticated.
func (r *Refusal) Is(target error) bool { return target == ErrUnauthenticated }

// ReasonOf is the reason in an error of theirs, empty when there is none.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	return ""
}

// One value each, so that refusing allocates nothing.
var (
	refusedMalformed = &Refusal{KeyMalformed}
	refusedUnknown   = &Refusal{KeyUnknown}
	refusedWrong     = &Refusal{KeyWrong}
	refusedExpired   = &Refusal{KeyExpired}
	refusedRevoked   = &Refusal{KeyRevoked}
	refusedAgent     = &Refusal{AgentInactive}
	refusedUser      = &Refusal{UserInactive}
	refusedOwner     = &Refusal{OwnerInactive}
	refusedOrg       = &Refusal{OrgInactive}
	refusedUncertain = &Refusal{StateUncertain}

	refusedJWT              = &Refusal{JWTMalformed}
	refusedJWTIssuer        = &Refusal{JWTIssuer}
	refusedJWTAudience      = &Refusal{JWTAudience}
	refusedJWTKey           = &Refusal{JWTKey}
	refusedJWTSignature     = &Refusal{JWTSignature}
	refusedJWTClaims        = &Refusal{JWTClaims}
	refusedJWTExpired       = &Refusal{JWTExpired}
	refusedJWTEarly         = &Refusal{JWTEarly}
	refusedNoUser           = &Refusal{UserUnknown}
	refusedNoAgent          = &Refusal{AgentUnknown}
	refusedLogin            = &Refusal{LoginUnknown}
	refusedCertificate      = &Refusal{CertificateUnknown}
	refusedCertificateTime  = &Refusal{CertificateExpired}
	refusedCertificateOther = &Refusal{CertificateOther}
	refusedCertificateNone  = &Refusal{CertificateRequired}
	refusedHolder           = &Refusal{HolderChanged}
)
