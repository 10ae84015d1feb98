package control

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/device"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

// faults maps what the parts below say to what a caller may know. What is not here is internal.
var faults = []struct {
	err    error
	status int
	code   string
	detail string
	hint   string
}{
	{identity.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{vault.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{vault.ErrLimit, http.StatusConflict, "limit_reached", "the number of secrets is reached", ""},
	{catalogue.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{catalogue.ErrUnknown, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{catalogue.ErrExists, http.StatusConflict, "exists", "there is one of that name already", "PUT /api/v1/servers/NAME changes it, DELETE removes it; or take another name"},
	{catalogue.ErrTooMany, http.StatusConflict, "limit_reached", "the configured number of these is reached", ""},
	{catalogue.ErrNoTool, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{catalogue.ErrPinMoved, http.StatusConflict, "conflict", "the definition of that digest does not wait for a decision any more", "look at the tool's pin again: decide about what the server lists now"},
	{pins.ErrMoved, http.StatusConflict, "conflict", "somebody else decided about the tool meanwhile", "look at the tool's pin again"},
	{catalogue.ErrNotKept, http.StatusConflict, "conflict", "no definition of that digest was approved before, or it is kept no more", "the pin's kept digests are those to roll back to"},
	{catalogue.ErrFindings, http.StatusConflict, "findings", "", "read the difference; to approve the definition all the same set despite_findings"},
	{catalogue.ErrCollision, http.StatusConflict, "findings", "", "such a tool cannot be approved: have one of the two renamed, or remove its server"},
	{catalogue.ErrPins, http.StatusConflict, "limit_reached", "the server has as many tool pins as it may have", "remove the server and add it again"},
	{catalogue.ErrFixed, http.StatusConflict, "fixed", "the server stands in the configuration file", "change it there"},
	{plans.ErrNotFound, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{plans.ErrInactive, http.StatusConflict, "inactive", "the plan has ended", "a plan that has ended can only be revoked"},
	{plans.ErrForbidden, http.StatusForbidden, "role_denied", "the key may not do this to that plan", ""},
	{approvals.ErrNotFound, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{approvals.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{approvals.ErrOwn, http.StatusForbidden, "role_denied", "somebody other than the agent's owner and the user it acts for must decide", "ask another manager or admin"},
	{approvals.ErrForbidden, http.StatusForbidden, "role_denied", "", "ask somebody with a higher role or limit"},
	{approvals.ErrEnough, http.StatusConflict, "conflict", "as many people have approved this as it takes", "the agent may use it now; to stop it, reject it"},
	{approvals.ErrDecided, http.StatusConflict, "conflict", "you have decided about this already", "somebody else has to decide; to take an approval back, reject it"},
	{approvals.ErrRejected, http.StatusConflict, "inactive", "the call was rejected", "the agent may ask again"},
	{approvals.ErrExpired, http.StatusConflict, "inactive", "the request has expired", "the agent may ask again"},
	{approvals.ErrSpent, http.StatusConflict, "inactive", "the approval was used", "each call takes one of its own"},
	{terms.ErrNotFound, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{terms.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{terms.ErrDecided, http.StatusConflict, "inactive", "", "the agent may propose it again"},
	{terms.ErrPolicy, http.StatusUnprocessableEntity, "bundle_refused", "", "the profile before stays in force"},
	{usage.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{usage.ErrLimit, http.StatusUnprocessableEntity, "request_invalid", "", "ask for fewer days"},
	{identity.ErrLastAdmin, http.StatusConflict, "last_admin", "an organisation keeps at least one active admin", "make another admin first"},
	{identity.ErrFinal, http.StatusConflict, "final", "what is revoked or removed stays so", "make a new one"},
	{identity.ErrExists, http.StatusConflict, "exists", "there is one of that name already", "take another name"},
	{identity.ErrLimit, http.StatusConflict, "limit_reached", "the configured number of these is reached", ""},
	{device.ErrUnknown, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{device.ErrExpired, http.StatusConflict, "inactive", "the code has expired", "let the program ask again"},
	{device.ErrDecided, http.StatusConflict, "inactive", "the sign-in is decided already", "let the program ask again"},
	{wal.ErrPruned, http.StatusGone, "pruned", "the record is kept no more", "the ledger's prune records say since when and why; proofs that were given still verify"},
	{retention.ErrHeld, http.StatusConflict, "held", "the organisation is under legal hold", "release it first, if the law allows"},
	{retention.ErrStands, http.StatusConflict, "held", "the organisation is under legal hold already, for another reason or by somebody else", "look at it with GET; one hold stands at a time, so write both reasons into the one, or release it first"},
	{retention.ErrOwned, http.StatusUnprocessableEntity, "request_invalid", "", "nothing was erased, and no record says so"},
	{retention.ErrClock, http.StatusConflict, "retention_refused", "", "a clock that leapt is believed when it went on for a day: nothing that is pruned by it comes back"},
	{retention.ErrNotHeld, http.StatusNotFound, "not_found", "there is no legal hold", ""},
	{retention.ErrUnknown, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{retention.ErrPolicy, http.StatusConflict, "retention_refused", "the configured retention does not allow it", "ledger.retention in the configuration says how long records are kept; 0s is for ever: set it and start the gateway again"},
	{retention.ErrInvalid, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{export.ErrLimit, http.StatusUnprocessableEntity, "limit_reached", "", "narrow the filter, or export range after range: from and to"},
	{export.ErrOptions, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{absence.ErrQuestion, http.StatusUnprocessableEntity, "request_invalid", "", "compare the request with /openapi.json"},
	{errNoCheckpoint, http.StatusServiceUnavailable, "busy", "no checkpoint of this ledger has been published yet", "try again in a few seconds"},
	{wal.ErrTenant, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{store.ErrNotFound, http.StatusNotFound, "not_found", "there is no such thing in this organisation", ""},
	{store.ErrNoRoom, http.StatusServiceUnavailable, "busy", "the gateway's disk is full: nothing was changed", "make room on the disk of the data folder"},
	{store.ErrConflict, http.StatusConflict, "conflict", "somebody else changed it meanwhile, or it exists already", "look at it again"},
}

// fault turns an error of a part below into a problem when it is one that callers are told; else it returns err.
func fault(err error) error {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, f := range faults {
		if errors.Is(err, f.err) {
			p := refuse(f.status, f.code, f.detail, f.hint)
			if p.Detail == "" { // the part below explains rules, never rows or secrets
				p.Detail = clip(told(err, f.err), 300)
			}
			return p
		}
	}
	return err
}

// told is what an error says to people: without what the part was doing, which they asked for and know, and without the
// kind, which is the code.
func told(err, kind error) string {
	if inner := errors.Unwrap(err); inner != nil && inner.Error() != kind.Error() {
		err = inner
	}
	return strings.TrimPrefix(strings.TrimSuffix(err.Error(), ": "+kind.Error()), kind.Error()+": ")
}
