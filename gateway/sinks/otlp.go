package sinks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// otlp posts batches as OTLP/HTTP logs in protobuf (OpenTelemetry protocol 1.x). Attributes have the names of the
// OpenTelemetry semantic conventions where there are any, and gatewright.* where not.
//
// It departs from the protocol in one thing: a batch that is answered with an error that is not to be retried is kept and
// tried again all the same. An audit log that drops what a receiver did not like would have holes that nobody sees.
type otlp struct {
	poster
	resource *resourcepb.Resource
	scope    *commonpb.InstrumentationScope
	header   string
	secret   string
	now      func() time.Time
}

func newOTLP(o *Options, c *Config) *otlp {
	address := c.URL
	if u, err := url.Parse(address); err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = "/v1/logs" // OTLP/HTTP's own path
		address = u.String()
	}
	return &otlp{
		poster: newPoster(o, c, address), header: c.Header, secret: string(c.Secret), now: o.Now,
		resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			text("service.name", "gatewright"), text("service.version", o.Version),
			text("service.namespace", o.Host), text("service.instance.id", o.Instance),
		}},
		scope: &commonpb.InstrumentationScope{Name: "github.com/gatewright/gatewright/gateway/sinks", Version: o.Version},
	}
}

func (s *otlp) send(ctx context.Context, batch []wal.Event) error {
	seen := uint64(s.now().UnixNano())
	records := make([]*logspb.LogRecord, len(batch))
	for i := range batch {
		records[i] = logRecord(&batch[i], seen)
	}
	// LogsData and ExportLogsServiceRequest are the same on the wire: field 1, repeated ResourceLogs.
	body, err := proto.Marshal(&logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: s.resource, ScopeLogs: []*logspb.ScopeLogs{{Scope: s.scope, LogRecords: records}},
	}}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	header := http.Header{}
	header.Set("Content-Type", "application/x-protobuf")
	if s.header != "" {
		header.Set(s.header, s.secret)
	}
	answer, err := s.post(ctx, body, header)
	if err != nil {
		return err
	}
	return partial(answer)
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}

func logRecord(e *wal.Event, seen uint64) *logspb.LogRecord {
	number32, name := severityOf(e)
	return &logspb.LogRecord{
		TimeUnixNano: uint64(e.Time) * 1000, ObservedTimeUnixNano: seen, EventName: "gatewright.ledger." + e.Kind.String(),
		SeverityNumber: number32, SeverityText: name,
		Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: sentence(e)}},
		Attributes: attributes(e),
	}
}

// attributes leaves out what is empty.
func attributes(e *wal.Event) []*commonpb.KeyValue {
	out := []*commonpb.KeyValue{
		text("gatewright.tenant", e.Tenant), number("gatewright.record.index", int64(e.Index)), text("gatewright.record.id", e.ID),
	}
	for _, a := range [...][2]string{
		{"user.id", e.User}, {"gen_ai.agent.id", e.Agent}, {"gen_ai.tool.name", e.Tool}, {"mcp.method.name", e.Op},
		{"error.type", e.Code}, {"gatewright.server", e.Server}, {"gatewright.plan.id", e.PlanID},
		{"gatewright.token.id", e.Token}, {"gatewright.verdict", e.Verdict}, {"gatewright.outcome", e.Outcome},
		{"gatewright.record.of", e.Of},
	} {
		if a[1] != "" {
			out = append(out, text(a[0], a[1]))
		}
	}
	if e.Step >= 0 {
		out = append(out, number("gatewright.plan.step", int64(e.Step)))
	}
	if e.Status != 0 {
		out = append(out, number("http.response.status_code", int64(e.Status)))
	}
	if e.Micros != 0 {
		out = append(out, number("gatewright.duration_us", int64(e.Micros)))
	}
	return out
}

func severityOf(e *wal.Event) (logspb.SeverityNumber, string) {
	if graveness(e) == warning {
		return logspb.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	}
	return logspb.SeverityNumber_SEVERITY_NUMBER_INFO, "INFO"
}

// partial reads ExportLogsServiceResponse: field 1 is partial_success, with rejected_log_records in 1 and error_message
// in 2. By the protocol what is rejected is not sent again. Many receivers, and what stands before them, answer something
// else with their 2xx: that is delivery all the same.
func partial(answer []byte) error {
	var rejected uint64
	var message string
	err := fields(answer, func(n protowire.Number, _ uint64, b []byte) error {
		if n != 1 {
			return nil
		}
		return fields(b, func(n protowire.Number, v uint64, b []byte) error {
			switch n {
			case 1:
				rejected = v
			case 2:
				message = string(b)
			}
			return nil
		})
	})
	if err != nil {
		return unread(err)
	}
	if rejected > 0 {
		return &rejectedError{rejected, message}
	}
	return nil
}

// fields walks a protobuf message's fields.
func fields(b []byte, each func(n protowire.Number, v uint64, b []byte) error) error {
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errors.New("it is no protobuf message")
		}
		b = b[size:]
		var v uint64
		var inner []byte
		switch typ {
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			inner, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(n, typ, b)
		}
		if size < 0 {
			return errors.New("it is no protobuf message")
		}
		b = b[size:]
		if err := each(n, v, inner); err != nil {
			return err
		}
	}
	return nil
}

// Graveness of an event: refusals, failures and what the log says about itself are warnings.
const (
	info = iota
	warning
)

func graveness(e *wal.Event) int {
	bad := e.Verdict == "deny" || e.Kind == ledger.Refused || e.Kind == ledger.Recovery || e.Outcome == ledger.OutcomeUnknown
	if bad {
		return warning
	}
	return info
}

// sentence is the event in a few words.
func sentence(e *wal.Event) string {
	words := []string{e.Kind.String()}
	if e.Tool != "" {
		words = append(words, e.Server+"/"+e.Tool)
	}
	for _, w := range [...]string{e.Verdict, e.Outcome, e.Code} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}
