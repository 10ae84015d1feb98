package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// problem is the one error body of this API: RFC 9457 with members of ours. It never repeats what was sent, since
// that may be a secret.
type problem struct {
	Type   string    `json:"type" doc:"always about:blank; the code tells the kind" example:"about:blank"`
	Title  string    `json:"title" doc:"the status in words" example:"Forbidden"`
	Status int       `json:"status" doc:"the HTTP status" example:"403"`
	Code   string    `json:"code" doc:"machine-readable reason, from a closed list" example:"role_denied"`
	Detail string    `json:"detail,omitempty" doc:"what happened"`
	Hint   string    `json:"hint,omitempty" doc:"what may be done about it"`
	Record string    `json:"record,omitempty" doc:"id of the ledger record of this call" example:"rec_06f4k3m1v8q2c7x9z5n0b2w4ht"`
	Fields []invalid `json:"fields,omitempty" doc:"which members were wrong"`

	RetryAfter int64 `json:"retry_after,omitempty" doc:"seconds after which asking again makes sense; the header Retry-After says it too, where the answer has not begun by then"`
}

// later says when asking again makes sense.
func (p *problem) later(after time.Duration) *problem {
	p.RetryAfter = int64((after + time.Second - 1) / time.Second)
	return p
}

// invalid names one member of the request that was refused and why, without its value.
type invalid struct {
	Location string `json:"location" doc:"where, as body.name, query.limit or path.id"`
	Message  string `json:"message" doc:"what is wrong"`
}

// maxFields bounds how many wrong members an answer lists.
const maxFields = 16

func refuse(status int, code, detail, hint string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Hint: hint}
}

// Error makes a problem an error that handlers return.
func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// GetHeaders makes huma say when to ask again.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(p.RetryAfter, 10))
	}
	return h
}

// GetStatus makes huma answer with the problem as it is.
func (p *problem) GetStatus() int { return p.Status }

// ContentType makes huma label it as RFC 9457 wants.
func (p *problem) ContentType(string) string { return "application/problem+json" }

func notFound() *problem {
	return refuse(http.StatusNotFound, "not_found", "there is no such thing in this organisation", "")
}

func internal() *problem {
	return refuse(http.StatusInternalServerError, "internal", "the gateway could not do this", "the gateway's log names the cause under this record id")
}

func auditUnavailable() *problem {
	return refuse(http.StatusServiceUnavailable, "audit_unavailable", "the ledger did not take the record of this call, so there is no answer",
		"if the call was to change something, look whether it did before trying again")
}

// write sends a problem outside huma.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"code":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the client may be gone; there is nobody to tell
}

// transform is the huma hook through which every answer goes: whatever error shape huma made becomes a problem that
// names the record. Values that huma echoes (whole bodies among them) are dropped here.
func transform(ctx huma.Context, _ string, v any) (any, error) {
	var p *problem
	switch e := v.(type) {
	case *problem:
		cp := *e // a handler may return a shared value
		p = &cp
	case *huma.ErrorModel:
		p = fromHuma(e)
	default:
		return v, nil
	}
	if c := callOf(ctx.Context()); c != nil {
		c.code = p.Code
		if !c.broken { // else there may be no such record
			p.Record = c.id
		}
	}
	return p, nil
}

func fromHuma(e *huma.ErrorModel) *problem {
	code, hint := "request_invalid", "compare the request with /openapi.json"
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		code, hint = "body_too_large", ""
	case http.StatusUnsupportedMediaType:
		code, hint = "content_type_refused", "send application/json"
	case http.StatusBadRequest:
		code = "body_invalid"
	case http.StatusNotAcceptable:
		code = "not_acceptable"
	}
	if e.Status >= http.StatusInternalServerError {
		return internal()
	}
	p := refuse(e.Status, code, e.Detail, hint)
	for _, d := range e.Errors {
		if d == nil || len(p.Fields) == maxFields {
			continue
		}
		p.Fields = append(p.Fields, invalid{Location: d.Location, Message: clip(d.Message, 200)})
	}
	return p
}

// clip bounds text that may carry pieces of a request.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

// asProblem turns any error of a handler into what the caller may know: a problem stays, the rest is internal.
func asProblem(err error) (*problem, bool) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p, true
	}
	return internal(), false
}
