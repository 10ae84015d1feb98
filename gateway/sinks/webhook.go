package sinks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Headers of a webhook's request.
const (
	// SignatureHeader is "v1=" and HMAC-SHA256(secret, TimestampHeader || "." || body) in hex.
	SignatureHeader = "Gatewright-Signature"
	// TimestampHeader is when this attempt was signed, in unix seconds; a receiver refuses old ones.
	TimestampHeader = "Gatewright-Timestamp"
	// KeyHeader names the batch: a retry has the same. A batch that was delivered before a restart may come again cut
	// differently; what never changes is the id of each event.
	KeyHeader = "Idempotency-Key"
)

// event is a ledger event as receivers read it.
type event struct {
	Tenant  string `json:"tenant"`
	Index   uint64 `json:"index"`
	ID      string `json:"id"`
	Time    string `json:"time"` // RFC 3339 with microseconds, UTC
	Kind    string `json:"kind"`
	Agent   string `json:"agent,omitempty"`
	User    string `json:"user,omitempty"`
	Op      string `json:"op,omitempty"`
	Server  string `json:"server,omitempty"`
	Tool    string `json:"tool,omitempty"`
	Plan    string `json:"plan,omitempty"`
	Step    *int32 `json:"step,omitempty"`
	Token   string `json:"token,omitempty"`
	Verdict string `json:"verdict,omitempty"`
	Code    string `json:"code,omitempty"`
	Of      string `json:"of,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Status  int    `json:"status,omitempty"`
	Micros  uint64 `json:"micros,omitempty"`
}

const timeForm = "2006-01-02T15:04:05.000000Z07:00"

func shape(e *wal.Event) event {
	out := event{
		Tenant: e.Tenant, Index: e.Index, ID: e.ID, Time: time.UnixMicro(e.Time).UTC().Format(timeForm), Kind: e.Kind.String(),
		Agent: e.Agent, User: e.User, Op: e.Op, Server: e.Server, Tool: e.Tool, Plan: e.PlanID, Token: e.Token,
		Verdict: e.Verdict, Code: e.Code, Of: e.Of, Outcome: e.Outcome, Status: e.Status, Micros: e.Micros,
	}
	if e.Step >= 0 {
		out.Step = &e.Step
	}
	return out
}

// webhook posts batches as JSON.
type webhook struct {
	poster
	secret   []byte
	instance string
	name     string
	now      func() time.Time
}

func newWebhook(o *Options, c *Config) *webhook {
	return &webhook{poster: newPoster(o, c, c.URL), secret: c.Secret, instance: o.Host + "/" + o.Instance, name: c.Name, now: o.Now}
}

func (w *webhook) send(ctx context.Context, batch []wal.Event) error {
	events := make([]event, len(batch))
	sum := sha256.New()
	for i := range batch {
		events[i] = shape(&batch[i])
		sum.Write([]byte(batch[i].ID))
	}
	body, err := json.Marshal(struct {
		Version  int     `json:"version"`
		Instance string  `json:"instance"`
		Sink     string  `json:"sink"`
		Events   []event `json:"events"`
	}{1, w.instance, w.name, events})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set(KeyHeader, hex.EncodeToString(sum.Sum(nil)))
	header.Set(TimestampHeader, at)
	header.Set(SignatureHeader, "v1="+hex.EncodeToString(Sign(w.secret, at, body)))
	_, err = w.post(ctx, body, header)
	return err
}

// Sign computes what SignatureHeader carries, for those who check it.
func Sign(secret []byte, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(timestamp))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}
