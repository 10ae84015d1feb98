package pipeline

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Code is the closed list of reasons that a caller may be told. Everything else reaches the caller as Internal.
type Code string

// The codes that the gateway itself gives. The reasons of package merkle/intent are codes too; Codes lists them all.
const (
	Unauthenticated   Code = "unauthenticated"
	WrongKeyKind      Code = "wrong_key_kind"
	InsufficientScope Code = "insufficient_scope"
	RateLimited       Code = "rate_limited"
	Malformed         Code = "malformed"
	TooLarge          Code = "too_large"
	HeaderTooLarge    Code = "header_too_large"
	TooSlow           Code = "too_slow"
	HostRefused       Code = "host_refused"
	OriginRefused     Code = "origin_refused"
	HeaderMismatch    Code = "header_mismatch"
	Unsupported       Code = "unsupported"
	MethodNotFound    Code = "method_not_found"
	MethodNotAllowed  Code = "method_not_allowed"
	NotFound          Code = "not_found"
	NotAvailable      Code = "not_available"
	IntentRequired    Code = "intent_required"
	IntentInvalid     Code = "intent_invalid"
	PlanInactive      Code = "plan_inactive"
	InvalidPlan       Code = "invalid_plan"
	InvalidArguments  Code = "invalid_arguments"
	StepUsed          Code = "step_used"
	StepOrder         Code = "step_order"
	StepLocal         Code = "step_local"
	PolicyDenied      Code = "policy_denied"
	ApprovalRequired  Code = "approval_required"
	CredentialRefused Code = "credential_refused"
	LoginRequired     Code = "login_required"
	FilterDenied      Code = "filter_denied"
	FilterFailed      Code = "filter_failed"
	InProgress        Code = "in_progress"
	RetryMismatch     Code = "retry_mismatch"
	ReplyWithheld     Code = "reply_withheld"
	ResultInvalid     Code = "result_invalid"
	UpstreamDown      Code = "upstream_unreachable"
	UpstreamTimeout   Code = "upstream_timeout"
	UpstreamMalformed Code = "upstream_malformed"
	UpstreamTooLarge  Code = "upstream_too_large"
	UpstreamRefused   Code = "upstream_refused"
	UpstreamBusy      Code = "upstream_busy"
	NotYet            Code = "not_yet"
	AuditUnavailable  Code = "audit_unavailable"
	Timeout           Code = "timeout"
	Internal          Code = "internal"
)

// meaning is what a code says to people: the HTTP status it takes where a status is shown, and what to do about it.
type meaning struct {
	status int
	text   string
	hint   string
}

// codes holds every code. A code that is not here is never shown to a caller.
var codes = map[Code]meaning{
	Unauthenticated:   {http.StatusUnauthorized, "no valid credential", "send 'Authorization: Bearer ak_...' with a runtime key of this gateway, a JWT of a configured login, or an access token for this address"},
	WrongKeyKind:      {http.StatusForbidden, "this kind of key does not open this route", "agents use runtime keys on the data port, people use admin keys on the control port"},
	InsufficientScope: {http.StatusForbidden, "the access token lacks a scope that this operation needs", "get a token with the scopes that WWW-Authenticate names"},
	RateLimited:       {http.StatusTooManyRequests, "rate limit reached", "wait for Retry-After seconds"},
	Malformed:         {http.StatusBadRequest, "the request is not well formed", "send one JSON-RPC 2.0 message of strict JSON (RFC 8259, no duplicate keys)"},
	TooLarge:          {http.StatusRequestEntityTooLarge, "the request is too large", "send a smaller body; the bound is proxy.max_body"},
	HeaderTooLarge:    {http.StatusRequestHeaderFieldsTooLarge, "the request's header is too large", "send less; the bound is proxy.max_header"},
	TooSlow:           {http.StatusRequestTimeout, "the request did not arrive in time", "send the whole request within proxy.read_timeout"},
	HostRefused:       {http.StatusMisdirectedRequest, "this Host is not served here", "use the address that the gateway printed, or add the name to proxy.hosts"},
	OriginRefused:     {http.StatusForbidden, "calls from this web origin are refused", "add the origin to proxy.origins if it is yours"},
	HeaderMismatch:    {http.StatusBadRequest, "a header contradicts the body", "make the header say what the body says, or leave it out"},
	Unsupported:       {http.StatusBadRequest, "not supported", "the message says what is, or instead of what"},
	MethodNotFound:    {http.StatusNotFound, "no such method", "ask initialize or server/discover what this gateway offers"},
	MethodNotAllowed:  {http.StatusMethodNotAllowed, "this address does not take this HTTP method", "see the Allow header"},
	NotFound:          {http.StatusNotFound, "no such thing for this caller", "check the id; what belongs to others is not shown"},
	NotAvailable:      {http.StatusForbidden, "not available to this caller", "tools/list shows what this key may use"},
	IntentRequired:    {http.StatusForbidden, "this operation needs a plan", "capture a plan, take a token and send it in the Gatewright-Intent header"},
	IntentInvalid:     {http.StatusForbidden, "the intent token does not cover this call", "take a token for a plan that has this step"},
	PlanInactive:      {http.StatusForbidden, "the plan is not active", "capture a new plan"},
	InvalidPlan:       {http.StatusUnprocessableEntity, "the plan cannot be captured", "mend the step that the message names"},
	InvalidArguments:  {http.StatusUnprocessableEntity, "the arguments break the tool's schema", "see the tool's inputSchema in tools/list"},
	StepUsed:          {http.StatusConflict, "every matching step of the plan is used up", "capture a new plan, or allow more uses in the step"},
	StepOrder:         {http.StatusConflict, "a step that must come first has not been done", "do the earlier steps of the plan first"},
	StepLocal:         {http.StatusConflict, "the plan marks this step as local: it is judged here and never forwarded", "run the tool where it is, or have the operator add its server and capture a new plan"},
	ApprovalRequired:  {http.StatusForbidden, "policy holds this call for approval", "have it approved, then make the very same call again"},
	CredentialRefused: {http.StatusForbidden, "this server takes no credential from callers", "leave the credential out, or have the operator set caller_credentials for the server"},
	LoginRequired:     {http.StatusForbidden, "the gateway has no credential that this server takes", "have the user or the operator do what the message says, then call again"},
	PolicyDenied:      {http.StatusForbidden, "policy does not permit this call", "ask the security team, naming the record id"},
	FilterDenied:      {http.StatusForbidden, "a filter refuses this call", "leave out what the reason names, or ask the security team, naming the record id"},
	FilterFailed:      {http.StatusServiceUnavailable, "a filter could not judge this call", "try again; if it stays so tell the operator, naming the record id"},
	InProgress:        {http.StatusConflict, "a call with this Idempotency-Key is still running", "wait for its answer and ask again"},
	RetryMismatch:     {http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request", "use a new Idempotency-Key for a new request"},
	ReplyWithheld:     {http.StatusForbidden, "the call was made and its reply is withheld", "ask the security team, naming the record id"},
	ResultInvalid:     {http.StatusBadGateway, "the call was made; its result breaks the tool's own output schema and is withheld", "its effect stands; tell the server's operator, naming the record id"},
	UpstreamDown:      {http.StatusBadGateway, "the server behind the gateway cannot be reached", "try again later"},
	UpstreamTimeout:   {http.StatusGatewayTimeout, "the server behind the gateway did not answer in time", "its effect is unknown; check before trying again"},
	UpstreamMalformed: {http.StatusBadGateway, "the server behind the gateway gave an answer that is not valid", "tell the server's operator, naming the record id"},
	UpstreamTooLarge:  {http.StatusBadGateway, "the server's answer is too large", "ask for less; the bound is upstream.max_reply"},
	UpstreamRefused:   {http.StatusBadGateway, "the server behind the gateway refused the call", "tell the operator, naming the record id"},
	UpstreamBusy:      {http.StatusServiceUnavailable, "too many calls to this server are running", "try again in a moment"},
	NotYet:            {http.StatusConflict, "no checkpoint covers this record yet", "ask again after Retry-After seconds"},
	AuditUnavailable:  {http.StatusServiceUnavailable, "the ledger cannot record this call", "nothing was forwarded unless a record says so; try again later"},
	Timeout:           {http.StatusServiceUnavailable, "the gateway took too long to judge this call", "nothing was forwarded; try again"},
	Internal:          {http.StatusInternalServerError, "internal error", "tell the operator, naming the record id"},
}

// intentCodes are the reasons of package merkle/intent, which are codes under their own names. The error's own message
// and hint go with them.
var intentCodes = map[Code]meaning{
	"token_malformed": {http.StatusForbidden, "the intent token is malformed", "send it as 'gatewright token' printed it"},
	"token_alg":       {http.StatusForbidden, "the intent token names another algorithm", "take a token from this gateway"},
	"token_type":      {http.StatusForbidden, "this is not an intent token", "take a token from this gateway"},
	"token_signature": {http.StatusForbidden, "the intent token's signature does not verify", "take a token from this gateway"},
	"token_issuer":    {http.StatusForbidden, "the intent token's issuer is not trusted here", "take a token from this gateway"},
	"token_key":       {http.StatusForbidden, "the intent token's key is not trusted here", "take a new token"},
	"token_audience":  {http.StatusForbidden, "the intent token is for another gateway", "take a token from this gateway"},
	"token_expired":   {http.StatusForbidden, "the intent token has expired", "take a new token for the plan"},
	"token_not_yet":   {http.StatusForbidden, "the intent token is not valid yet", "check the clocks"},
	"token_lifetime":  {http.StatusForbidden, "the intent token lives longer than this gateway allows", "take a new token"},
	"token_revoked":   {http.StatusForbidden, "the intent token has been revoked", "take a new token if you still may"},
	"bearer_mismatch": {http.StatusForbidden, "the intent token was issued to somebody else", "take a token with the key you call with"},
	"plan_mismatch":   {http.StatusForbidden, "token and plan do not belong together", "take a token for this plan"},
	"plan_revoked":    {http.StatusForbidden, "the plan has been revoked", "capture a new plan"},
	"plan_expired":    {http.StatusForbidden, "the plan has expired", "capture a new plan"},
	"leaf_malformed":  {http.StatusForbidden, "the step shown is malformed", "send the leaf as it was captured"},
	"proof_length":    {http.StatusForbidden, "the proof has the wrong length", "make the proof for the token's plan"},
	"proof_mismatch":  {http.StatusForbidden, "the proof does not lead to the token's plan", "make the proof for this very step"},
	"step_unknown":    {http.StatusForbidden, "the plan has no such step", "see the plan's steps"},
	"tool_mismatch":   {http.StatusForbidden, "the plan has no step for this tool", "capture a plan that has one"},
	"schema_changed":  {http.StatusForbidden, "the tool's schema has changed since the plan was captured", "capture a new plan"},
	"args_mismatch":   {http.StatusForbidden, "the arguments are not those of the plan", "call with the planned arguments, or capture a new plan"},
}

// meaningOf finds what a code says.
func meaningOf(code Code) (meaning, bool) {
	if m, ok := codes[code]; ok {
		return m, true
	}
	m, ok := intentCodes[code]
	return m, ok
}

// Denial is a refusal that may be told to the caller.
type Denial struct {
	Code       Code
	Message    string        // what was refused, without secrets or values of arguments
	Hint       string        // what to do about it
	RetryAfter time.Duration // for RateLimited, and AuditUnavailable where nothing was forwarded
	Reason     string        // for the ledger only: the exact reason where the caller is told less
	Uncertain  bool          // the call went out and may have taken effect, or not
	Approval   string        // the request for approval that a held call waits for
	Policy     string        // the policy that decided, for callers who may know
	Scopes     []string      // for InsufficientScope: those needed in all
	Data       []byte        // protocol-specific JSON for the caller, nil when none
	Cause      error         // for the log only
}

// Deny makes a refusal under a code; the message and hint of the code stand unless text is given.
func Deny(code Code, text string) *Denial {
	m, ok := meaningOf(code)
	if !ok {
		code, m = Internal, codes[Internal]
	}
	if text == "" {
		text = m.text
	}
	return &Denial{Code: code, Message: text, Hint: m.hint}
}

// Error says the code, the message and, for the log, the cause.
func (d *Denial) Error() string {
	if d == nil {
		return "nil denial"
	}
	if d.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", d.Code, d.Message, d.Cause)
	}
	return fmt.Sprintf("%s: %s", d.Code, d.Message)
}

// Unwrap gives the cause.
func (d *Denial) Unwrap() error {
	if d == nil {
		return nil
	}
	return d.Cause
}

// Status is the HTTP status of the code, for dialects that answer refusals with one.
func (d *Denial) Status() int {
	m, _ := meaningOf(d.Code)
	return m.status
}

// fault says whether the refusal is the gateway's own failure, which an operator has to see. A filter that fails is the
// tenant's: the ledger and the filter's own counts show it, and callers could flood a log with it.
func (d *Denial) fault() bool {
	return d.Status() >= http.StatusInternalServerError && d.Code != FilterFailed
}

// Because sets the cause and returns the denial.
func (d *Denial) Because(err error) *Denial { d.Cause = err; return d }

// WithReason sets what the ledger is told and returns the denial.
func (d *Denial) WithReason(reason string) *Denial { d.Reason = reason; return d }

// Known says whether the code is one that callers may be told.
func (c Code) Known() bool {
	_, ok := meaningOf(c)
	return ok
}

// asDenial finds the refusal in err. Anything that is not a refusal is a fault: the caller learns only "internal".
func asDenial(err error) (d *Denial) {
	defer func() {
		if recover() != nil { // out of the error's own methods
			d = Deny(Internal, "")
		}
	}()
	var found *Denial
	if errors.As(err, &found) && found != nil && found.Code.Known() {
		return found
	}
	return Deny(Internal, "").Because(err)
}
