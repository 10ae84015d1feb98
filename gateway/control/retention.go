package control

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/retention"
)

// Retention looks after what is kept of the ledger; retention.Keeper is one.
type Retention interface {
	Held(ctx context.Context, tenant string) (retention.Hold, bool, error)
	Hold(ctx context.Context, tenant, reason string, by retention.Who) (retention.Hold, error)
	Release(ctx context.Context, tenant, reason string) (retention.Hold, error)
	Prune(ctx context.Context, r retention.Request) (retention.Result, error)
	Erase(ctx context.Context, tenant, subject, reason string, by retention.Who) (retention.Erasure, error)
}

// noRetention stands in for a gateway that keeps everything.
type noRetention struct{}

func (noRetention) Held(context.Context, string) (retention.Hold, bool, error) {
	return retention.Hold{}, false, nil
}

func (noRetention) Hold(context.Context, string, string, retention.Who) (retention.Hold, error) {
	return retention.Hold{}, retention.ErrPolicy
}

func (noRetention) Release(context.Context, string, string) (retention.Hold, error) {
	return retention.Hold{}, retention.ErrNotHeld
}

func (noRetention) Prune(context.Context, retention.Request) (retention.Result, error) {
	return retention.Result{}, retention.ErrPolicy
}

func (noRetention) Erase(context.Context, string, string, string, retention.Who) (retention.Erasure, error) {
	return retention.Erasure{}, retention.ErrUnknown
}

type holdOut struct {
	Body struct {
		Held   bool       `json:"held"`
		Reason string     `json:"reason,omitempty"`
		By     string     `json:"by,omitempty" doc:"the user who ordered it"`
		Since  *time.Time `json:"since,omitempty"`
	}
}

type reasonIn struct {
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"stands in the ledger for good; name nobody in it"`
	}
}

type pruneIn struct {
	Body *struct {
		Before *time.Time `json:"before,omitempty" doc:"records older than this; absent: as old as the configured retention says. Younger ones than that are never pruned"`
		DryRun bool       `json:"dry_run,omitempty" doc:"only say what would go"`
	} `required:"false"`
}

// prunedPart is what became of one organisation's ledger.
type prunedPart struct {
	Tenant  string `json:"tenant"`
	From    uint64 `json:"from" doc:"index of the first record that goes"`
	To      uint64 `json:"to" doc:"index behind the last; equal to from: none goes"`
	Size    uint64 `json:"size" doc:"of the checkpoint that the prune record holds"`
	Root    string `json:"root,omitempty" doc:"of that checkpoint, hex"`
	Why     string `json:"why,omitempty" doc:"what keeps more from going, in words"`
	Held    bool   `json:"held" doc:"under legal hold: nothing goes"`
	Record  string `json:"record,omitempty" doc:"id of the prune record"`
	Receipt string `json:"receipt,omitempty" doc:"signed receipt of that record"`
}

type pruneOut struct {
	Body struct {
		Before time.Time    `json:"before"`
		DryRun bool         `json:"dry_run"`
		Items  []prunedPart `json:"items" nullable:"false"`
	}
}

type eraseIn struct {
	Body struct {
		Subject string `json:"subject" minLength:"1" maxLength:"64" doc:"id of a user, or of an agent that nobody answers for: what others send is sealed under their owner, whom to erase the refusal names"`
		Reason  string `json:"reason" minLength:"1" maxLength:"1000" doc:"stands in the ledger for good; name nobody in it"`
		Confirm string `json:"confirm" maxLength:"64" doc:"the subject's id once more: what is erased cannot be brought back"`
	}
}

type eraseOut struct {
	Body struct {
		Digest  string `json:"digest" doc:"what names the subject in the records: SHA-256(salt || id), hex"`
		Salt    string `json:"salt" doc:"of this organisation, hex; it stands in no record"`
		Record  string `json:"record,omitempty" doc:"id of the erasure record, written first"`
		Outcome string `json:"outcome,omitempty" doc:"id of the record that says it is done"`
		Records uint64 `json:"records" doc:"how many of the records that are kept could be opened until now, and cannot any more"`
		Nothing bool   `json:"nothing" doc:"nothing was ever sealed about the subject: nothing was done, and no record says that it was"`
		Owner   string `json:"owner,omitempty" doc:"who answers for the agent: what it sends while somebody does is sealed under that person, and stays readable"`
		Already bool   `json:"already" doc:"it was erased before, and nothing was sealed since"`
	}
}

func (m *mounting) retention() {
	keeper := m.api.deps.Retention
	handle(m, "get-hold", func(ctx context.Context, c *call, _ *none) (*holdOut, error) {
		h, held, err := keeper.Held(ctx, c.caller.Tenant())
		return shapeHold(h, held), err
	})
	handle(m, "hold-ledger", func(ctx context.Context, c *call, in *reasonIn) (*holdOut, error) {
		c.note("reason", in.Body.Reason)
		h, err := keeper.Hold(ctx, c.caller.Tenant(), in.Body.Reason, c.who())
		return shapeHold(h, true), err
	})
	handle(m, "release-ledger", func(ctx context.Context, c *call, in *reasonIn) (*holdOut, error) {
		c.note("reason", in.Body.Reason)
		_, err := keeper.Release(ctx, c.caller.Tenant(), in.Body.Reason)
		return shapeHold(retention.Hold{}, false), err
	})
	handle(m, "prune-ledger", m.api.pruneLedger)
	handle(m, "erase-subject", m.api.eraseSubject)
}

// pruneLedger prunes the caller's own ledger, and for the gateway's operators everybody's.
func (a *API) pruneLedger(ctx context.Context, c *call, in *pruneIn) (*pruneOut, error) {
	r := retention.Request{Tenant: c.caller.Tenant(), By: c.who()}
	if r.Tenant == pipeline.InstanceTenant {
		r.Tenant = ""
	}
	if in.Body != nil {
		r.DryRun = in.Body.DryRun
		if in.Body.Before != nil {
			r.Before = *in.Body.Before
		}
	}
	done, err := a.deps.Retention.Prune(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &pruneOut{}
	out.Body.Before, out.Body.DryRun, out.Body.Items = done.Before.UTC(), r.DryRun, []prunedPart{}
	records := uint64(0)
	for _, p := range done.Parts {
		records += p.To - p.From
		out.Body.Items = append(out.Body.Items, prunedPart{p.Tenant, p.From, p.To, p.Size, p.Root, p.Why, p.Held, p.Record, p.Receipt})
	}
	c.note("records", strconv.FormatUint(records, 10))
	c.note("dry_run", strconv.FormatBool(r.DryRun))
	return out, nil
}

func (a *API) eraseSubject(ctx context.Context, c *call, in *eraseIn) (*eraseOut, error) {
	if in.Body.Confirm != in.Body.Subject {
		return nil, refuse(http.StatusUnprocessableEntity, "request_invalid", "confirm is not the subject", "repeat the subject's id in confirm: what is erased cannot be brought back")
	}
	e, err := a.deps.Retention.Erase(ctx, c.caller.Tenant(), in.Body.Subject, in.Body.Reason, c.who())
	if err != nil {
		return nil, err
	}
	c.note("subject", e.Digest)
	c.note("record", e.Record)
	c.note("records", strconv.FormatUint(e.Records, 10))
	out := &eraseOut{}
	out.Body.Records, out.Body.Nothing, out.Body.Owner = e.Records, e.Nothing, e.Owner
	out.Body.Digest, out.Body.Salt, out.Body.Record, out.Body.Outcome, out.Body.Already = e.Digest, e.Salt, e.Record, e.Outcome, e.Already
	return out, nil
}

// who is the caller as a record names it.
func (c *call) who() retention.Who {
	w := retention.Who{User: c.caller.User(), Key: c.caller.KeyID()}
	if c.addr.IsValid() {
		w.Addr = c.addr.String()
	}
	return w
}

func shapeHold(h retention.Hold, held bool) *holdOut {
	out := &holdOut{}
	out.Body.Held = held
	if held {
		out.Body.Reason, out.Body.By, out.Body.Since = h.Reason, h.By, timeOrNil(time.Unix(h.Since, 0))
	}
	return out
}
