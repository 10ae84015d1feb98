package control

import (
	"context"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/export/rechain"
	"github.com/gatewright/gatewright/merkle/ledger/export/report"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Exports is what exports and absence proofs are made from: the published ledger, and the keys that sign its checkpoints.
type Exports interface {
	export.Source
	Signers() []ledger.NoteSigner
}

// Subjects finds the key that a person's or an agent's data is sealed under. It makes none: vault.ErrNotFound after an
// erasure. vault.Vault is one.
type Subjects interface {
	Lookup(ctx context.Context, tenant, subject string) (cipher.AEAD, error)
}

const (
	// maxFlows is how many exports and proofs are made at a time: each reads the disk as fast as it can. An organisation
	// has one of them, so that none keeps the others from theirs.
	maxFlows = 8
	// flowTime bounds one export or proof: ten million records at ten thousand a second take a third of it.
	flowTime = time.Hour
	// chunkTime is how long a reader may take for one write, which is some tens of KiB.
	chunkTime = 30 * time.Second
	// leastRate is how many bytes in a second a reader must take on the whole, once it has been slower for chunkTime: who
	// takes a byte now and then would hold a place for flowTime. The time that this gateway takes does not count.
	leastRate = 64 << 10
)

// exportKey is the header that gives away the key of a re-chained view. It is nowhere else.
const exportKey = "Gatewright-Export-Key"

// exportFilter chooses records; export.Filter says what its members mean.
type exportFilter struct {
	From    uint64     `json:"from,omitempty" maximum:"9007199254740991" doc:"index of the first record"`
	To      uint64     `json:"to,omitempty" maximum:"9007199254740991" doc:"index behind the last record; absent: the published checkpoint's size"`
	Since   *time.Time `json:"since,omitempty" doc:"records of this time and later"`
	Until   *time.Time `json:"until,omitempty" doc:"records before this time"`
	Agent   string     `json:"agent,omitempty" maxLength:"256"`
	User    string     `json:"user,omitempty" maxLength:"256"`
	Server  string     `json:"server,omitempty" maxLength:"256"`
	Tool    string     `json:"tool,omitempty" maxLength:"320" doc:"name of a tool, or SERVER/TOOL"`
	Kind    string     `json:"kind,omitempty" maxLength:"64"`
	Verdict string     `json:"verdict,omitempty" maxLength:"64" doc:"allow or deny"`
	Code    string     `json:"code,omitempty" maxLength:"64"`
	Outcome string     `json:"outcome,omitempty" maxLength:"64" doc:"ok, tool_error, upstream_error, withheld or unknown"`
}

type exportIn struct {
	Body struct {
		Format  string        `json:"format" enum:"jsonl,csv,pdf,ai-identity" doc:"what stands beside the records themselves"`
		Filter  *exportFilter `json:"filter,omitempty" doc:"which records; all that is given must hold"`
		Limit   int           `json:"limit,omitempty" minimum:"1" maximum:"10000000" doc:"refuse when more records match; absent: 1000000"`
		Subject string        `json:"subject,omitempty" maxLength:"64" doc:"a person's or an agent's id: all records about it, with what is sealed beside them opened, as far as it is the subject's own; Admins only"`
	}
}

type absenceIn struct {
	Body struct {
		Agent  string `json:"agent" minLength:"1" maxLength:"256" doc:"the agent's id"`
		Server string `json:"server,omitempty" maxLength:"256" doc:"absent: any"`
		Tool   string `json:"tool,omitempty" maxLength:"320" doc:"name of a tool, or SERVER/TOOL; absent: any"`
		From   uint64 `json:"from,omitempty" maximum:"9007199254740991" doc:"the size of the ledger from which on it is proved; absent: from the first record that is kept"`
		To     uint64 `json:"to,omitempty" maximum:"9007199254740991" doc:"up to which; absent: the published checkpoint's size"`
		Since  string `json:"since,omitempty" maxLength:"32768" doc:"a checkpoint of exactly from records that you hold, a signed note: the proof then shows that the range began with it"`
	}
}

func (m *mounting) exports() {
	handle(m, "export-records", func(ctx context.Context, c *call, in *exportIn) (*none, error) {
		return &none{}, c.flow(func() (*flow, error) { return m.api.export(ctx, c, in) })
	})
	handle(m, "prove-absence", func(ctx context.Context, c *call, in *absenceIn) (*none, error) {
		return &none{}, c.flow(func() (*flow, error) { return m.api.absence(ctx, c, in) })
	})
}

// export gets an export ready.
func (a *API) export(ctx context.Context, c *call, in *exportIn) (*flow, error) {
	b := &in.Body
	f := b.Filter
	if f == nil {
		f = &exportFilter{}
	}
	if err := splitTool(&f.Server, &f.Tool); err != nil {
		return nil, err
	}
	o := export.Options{
		Tenant: c.caller.Tenant(), Format: export.Format(b.Format), Limit: b.Limit, Now: a.deps.Now(), Signers: a.deps.Exports.Signers(),
		By: export.Requester{User: c.caller.User(), Key: c.caller.KeyID(), Record: c.id},
		Filter: export.Filter{
			From: f.From, To: f.To, Since: f.Since, Until: f.Until, Agent: f.Agent, User: f.User, Server: f.Server, Tool: f.Tool,
			Kind: f.Kind, Verdict: f.Verdict, Code: f.Code, Outcome: f.Outcome, Subject: b.Subject,
		},
	}
	if given, err := json.Marshal(&o.Filter); err == nil {
		c.note("filter", string(given))
	}
	c.note("format", b.Format)
	out := &flow{media: "application/zip", name: "gatewright-export.zip"}
	if err := a.makers(c, &o, out); err != nil {
		return nil, err
	}
	e, err := export.Prepare(ctx, a.deps.Exports, o)
	if err != nil {
		return nil, unprepared(ctx, err)
	}
	if e.About().Count == 0 { // nothing about a name that is misspelled would look like an answer
		if err := a.knownNames(ctx, o.Tenant, &o.Filter); err != nil {
			return nil, err
		}
	}
	out.write = func(ctx context.Context, w io.Writer, commit func(digest [32]byte) error) error {
		e.OnCommit(func(_ context.Context, manifest []byte) error {
			c.note("records", fmt.Sprint(e.About().Count))
			return commit(sum(manifest))
		})
		_, err := e.Write(ctx, w)
		return err
	}
	return out, nil
}

// makers adds what the format and the subject need.
func (a *API) makers(c *call, o *export.Options, out *flow) error {
	switch o.Format {
	case export.PDF:
		o.Report = report.Write
	case export.AIIdentity:
		key, err := rechain.NewKey(a.deps.Rand)
		if err != nil {
			return err
		}
		if o.Extra, err = rechain.New(key, o.Now, a.deps.Rand); err != nil {
			return err
		}
		out.key = key
	}
	if o.Filter.Subject == "" {
		return nil
	}
	if c.caller.Role() != identity.RoleAdmin {
		return refuse(http.StatusForbidden, "role_denied", "what is sealed beside records is opened for an Admin only", "ask an Admin, or leave the subject out and filter by user or agent")
	}
	c.target = o.Filter.Subject
	o.Opener = &opener{subjects: a.deps.Subjects, tenant: o.Tenant, subject: o.Filter.Subject}
	return nil
}

// absence gets an absence proof ready.
func (a *API) absence(ctx context.Context, c *call, in *absenceIn) (*flow, error) {
	b := &in.Body
	c.target = b.Agent
	if err := splitTool(&b.Server, &b.Tool); err != nil {
		return nil, err
	}
	c.note("server", b.Server)
	c.note("tool", b.Tool)
	c.note("from", fmt.Sprint(b.From))
	out := &flow{media: "application/jsonl", name: "gatewright-absence.jsonl"}
	var commit func(digest [32]byte) error
	o := absence.Options{
		Tenant: c.caller.Tenant(), Now: a.deps.Now(),
		Question: absence.Question{Agent: b.Agent, Server: b.Server, Tool: b.Tool, From: b.From, To: b.To},
		Commit:   func(_ context.Context, digest merkle.Hash) error { return commit(digest) },
	}
	if b.Since != "" {
		o.Since = []byte(b.Since)
	}
	p, err := absence.Prepare(a.deps.Exports, o)
	if err != nil {
		return nil, unprepared(ctx, err)
	}
	if err := a.knownAgent(ctx, o.Tenant, b.Agent); err != nil {
		return nil, err
	}
	out.write = func(ctx context.Context, w io.Writer, fn func(digest [32]byte) error) error {
		commit = fn
		return p.Write(ctx, w)
	}
	return out, nil
}

// knownNames refuses a filter that names somebody whom the organisation never had.
func (a *API) knownNames(ctx context.Context, tenant string, f *export.Filter) error {
	for _, look := range []struct {
		id    string
		known func(ctx context.Context, tenant, id string) error
	}{{f.Subject, a.knownSubject}, {f.Agent, a.knownAgent}, {f.User, a.knownUser}} {
		if look.id == "" {
			continue
		}
		if err := look.known(ctx, tenant, look.id); err != nil {
			return err
		}
	}
	return nil
}

// unprepared says why there is nothing to send.
func unprepared(ctx context.Context, err error) error {
	if errors.Is(err, wal.ErrTenant) {
		return errNoCheckpoint // the caller's own record is there, or will be
	}
	if errors.Is(err, wal.ErrPruned) {
		return refuse(http.StatusGone, "pruned", clip(told(err, wal.ErrPruned), 300), "ask for records from the first one on that is kept; the ledger's prune records say since when and why the others are not")
	}
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return refuse(http.StatusServiceUnavailable, "busy", "finding the records took too long", "narrow the filter: by index, by time, or by an agent")
	}
	return err
}

// opener opens what is sealed beside a subject's own records.
type opener struct {
	subjects        Subjects
	tenant, subject string
}

// Open implements export.Opener.
func (o *opener) Open(ctx context.Context, r *ledger.Record) (export.Opened, error) {
	if r.User != o.subject && r.Agent != o.subject {
		return export.Opened{State: "somebody else's"}, nil // the record only names the subject
	}
	aead, err := o.subjects.Lookup(ctx, o.tenant, pipeline.SubjectOf(r))
	if errors.Is(err, vault.ErrNotFound) {
		return export.Opened{State: "erased"}, nil
	}
	if err != nil {
		return export.Opened{}, err
	}
	args, ask, err := pipeline.Unseal(aead, r)
	if err != nil { // sealed under a key that was erased, and made anew since; or damaged
		return export.Opened{State: "does not open"}, nil //nolint:nilerr // the line in the export says so
	}
	return export.Opened{Args: args, Ask: ask}, nil
}

// noExports is what the API stands on without a published ledger.
type noExports struct{ Exports }

// Checkpoint implements export.Source: there is nothing.
func (noExports) Checkpoint(string) ([]byte, error) { return nil, errNoCheckpoint }

// Signers implements Exports.
func (noExports) Signers() []ledger.NoteSigner { return []ledger.NoteSigner{ledger.Signer{}} }

var errNoCheckpoint = errors.New("no checkpoint has been published")

// hexed is a digest as records hold it.
func hexed(digest [32]byte) string { return hex.EncodeToString(digest[:]) }
