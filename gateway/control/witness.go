package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

// Witness is this gateway among witnesses: it serves others' logs, and has its own ledger cosigned.
type Witness interface {
	// Serve answers a peer's request, the path without /witness (C2SP tlog-witness). Nobody's key is asked for: a
	// checkpoint's signature is what lets it in. addr is where the request comes from.
	Serve(w http.ResponseWriter, r *http.Request, addr netip.Addr)
	// Standing says which keys cosign here, for which logs, and who cosigns this ledger.
	Standing() WitnessStanding
	// Cosign lets every witness be asked about the next checkpoint, and waits until they were.
	Cosign(ctx context.Context) error
}

// WitnessStanding is what a Witness says of itself.
type WitnessStanding struct {
	Keys      []string // this gateway's own, as C2SP verifier keys
	Origin    string   // of the log that others cosign for this gateway
	LogKeys   []string // that sign it, as C2SP verifier keys
	Logs      []witness.LogStatus
	Witnesses []witness.Status
}

// ErrNoWitness is a ledger that no witness is configured for.
var ErrNoWitness = errors.New("the ledger has no witness")

// witnessPrefix is where peers come to.
const witnessPrefix = "/witness/"

// serveWitness hands a peer's request over.
func (a *API) serveWitness(w http.ResponseWriter, r *http.Request) {
	addr := a.guard.client(r)
	http.StripPrefix(strings.TrimSuffix(witnessPrefix, "/"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.deps.Witness.Serve(w, r, addr)
	})).ServeHTTP(w, r)
}

// noWitness is a gateway that witnesses nothing and has no witness.
type noWitness struct{}

func (noWitness) Serve(w http.ResponseWriter, _ *http.Request, _ netip.Addr) { notFound().write(w) }
func (noWitness) Standing() WitnessStanding                                  { return WitnessStanding{} }
func (noWitness) Cosign(context.Context) error                               { return ErrNoWitness }

type witnessesOut struct {
	Body struct {
		Keys      []string        `json:"keys" nullable:"false" doc:"this gateway's own keys as a witness, C2SP verifier keys"`
		Origin    string          `json:"origin,omitempty" doc:"origin line of this gateway's own log of checkpoints, for its witnesses"`
		LogKeys   []string        `json:"log_keys,omitempty" nullable:"false" doc:"the keys that sign it, C2SP verifier keys, for its witnesses"`
		Logs      []witnessedLog  `json:"logs" nullable:"false" doc:"others' logs that it witnesses; shown to the gateway's operators only"`
		Witnesses []ledgerWitness `json:"witnesses" nullable:"false" doc:"who cosigns this gateway's checkpoints"`
	}
}

// witnessedLog is one log that this gateway witnesses.
type witnessedLog struct {
	Origin string     `json:"origin"`
	Size   uint64     `json:"size" doc:"leaves of the newest checkpoint that was cosigned; 0 when none was"`
	At     *time.Time `json:"at,omitempty" doc:"when that was"`
	Error  string     `json:"error,omitempty" doc:"why the log is refused"`
}

// ledgerWitness is one witness of this gateway's ledger.
type ledgerWitness struct {
	Name  string     `json:"name"`
	URL   string     `json:"url,omitempty" doc:"shown to the gateway's operators only"`
	Key   string     `json:"key" doc:"the pinned key, a C2SP verifier key"`
	Size  uint64     `json:"size" doc:"leaves of the newest checkpoint that it cosigned since the start; 0 when none"`
	At    *time.Time `json:"at,omitempty" doc:"time of that cosignature"`
	Asked *time.Time `json:"asked,omitempty" doc:"when it was last asked"`
	Error string     `json:"error,omitempty" doc:"why it did not cosign the last time; the gateway's operators are shown the whole cause, others its kind"`
}

func (m *mounting) witnesses() {
	handle(m, "list-witnesses", func(_ context.Context, c *call, _ *none) (*witnessesOut, error) {
		return m.api.standing(c), nil
	})
	handle(m, "cosign-ledger", func(ctx context.Context, c *call, _ *none) (*witnessesOut, error) {
		switch err := m.api.deps.Witness.Cosign(ctx); {
		case errors.Is(err, ErrNoWitness):
			return nil, refuse(http.StatusConflict, "conflict", "no witness of the ledger is configured", "name one in ledger { witness \"name\" { } }")
		case err != nil:
			return nil, fmt.Errorf("ask the witnesses: %w", err)
		}
		return m.api.standing(c), nil
	})
}

// standing shapes what the caller may see: addresses, errors that may hold some, and whose logs are witnessed here, are for
// the gateway's operators.
func (a *API) standing(c *call) *witnessesOut {
	s, operator := a.deps.Witness.Standing(), c.caller.Tenant() == pipeline.InstanceTenant
	out := &witnessesOut{}
	out.Body.Keys = append([]string{}, s.Keys...)
	out.Body.Logs, out.Body.Witnesses = []witnessedLog{}, []ledgerWitness{}
	out.Body.Origin, out.Body.LogKeys = s.Origin, s.LogKeys
	if operator {
		for _, l := range s.Logs {
			out.Body.Logs = append(out.Body.Logs, witnessedLog{Origin: l.Origin, Size: l.Size, At: timeOrNil(l.At), Error: cause(l.Err, operator, "")})
		}
	}
	for _, w := range s.Witnesses {
		shown := ledgerWitness{Name: w.Name, Key: w.Key, Size: w.Size, At: timeOrNil(w.At), Asked: timeOrNil(w.Asked), Error: cause(w.Err, operator, "it did not cosign: "+witness.Kind(w.Err))}
		if operator {
			shown.URL = w.URL
		}
		out.Body.Witnesses = append(out.Body.Witnesses, shown)
	}
	return out
}

// timeOrNil leaves a zero time out.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// cause is an error's text for operators, and for others only that there is one.
func cause(err error, operator bool, otherwise string) string {
	switch {
	case err == nil:
		return ""
	case operator:
		return err.Error()
	}
	return otherwise
}
