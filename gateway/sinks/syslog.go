package sinks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// syslog sends RFC 5424 messages. Over tcp and tls each is preceded by its length (RFC 6587, 3.4.1; RFC 5425, 4.3), over
// udp each is a datagram of its own (RFC 5426).
//
// Syslog acknowledges nothing. Over tcp and tls each batch therefore has a connection of its own, whose end says that it
// was read: the sender ends its side, and a receiver that has read up to there ends its own. A reset, or silence, means
// that the batch is sent again. A receiver that does not do so is served with Config.Confirm off, and what it had not
// read when it died is lost; over udp so is what the network drops.
type syslog struct {
	network, address string
	tls              *tls.Config // nil: plain
	confirm          bool
	head             string // between timestamp and message id
	sd               string // name of the structured data
}

// facility is "log audit" of RFC 5424, table 1.
const facility = 13

func newSyslog(o *Options, c *Config) *syslog {
	u, _ := url.Parse(c.URL) // Validate has read it
	s := &syslog{
		network: u.Scheme, address: u.Host, confirm: c.Confirm,
		head: " " + token(o.Host, 255) + " gatewright " + token(o.Instance, 128) + " ",
		sd:   "[gatewright@" + strconv.Itoa(c.Enterprise),
	}
	if u.Scheme == "tls" {
		s.network, s.tls = "tcp", tlsConfig(c, u.Hostname())
	}
	return s
}

func (s *syslog) close() {}

func (s *syslog) send(ctx context.Context, batch []wal.Event) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }() // all that counts was written and confirmed, or is sent again
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end) // the connection is new; a failure shows at the write
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if s.network == "udp" {
		return s.datagrams(conn, batch)
	}
	return s.stream(conn, batch)
}

func (s *syslog) dial(ctx context.Context) (net.Conn, error) {
	if s.tls != nil {
		return (&tls.Dialer{Config: s.tls}).DialContext(ctx, s.network, s.address)
	}
	return (&net.Dialer{}).DialContext(ctx, s.network, s.address)
}

func (s *syslog) datagrams(conn net.Conn, batch []wal.Event) error {
	var b []byte
	for i := range batch {
		b = s.message(b[:0], &batch[i])
		if _, err := conn.Write(b); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

func (s *syslog) stream(conn net.Conn, batch []wal.Event) error {
	var b, m []byte
	for i := range batch {
		m = s.message(m[:0], &batch[i])
		b = strconv.AppendInt(b, int64(len(m)), 10)
		b = append(b, ' ')
		b = append(b, m...)
	}
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || !s.confirm {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("the receiver did not confirm by ending its side: %w", err)
	case n == maxAnswer:
		return errors.New("the receiver talks instead of ending its side")
	}
	return nil
}

// message appends one RFC 5424 message: <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID [SD] BOM MSG.
func (s *syslog) message(b []byte, e *wal.Event) []byte {
	severity := 6 // informational
	if graveness(e) == warning {
		severity = 4
	}
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(facility*8+severity), 10)
	b = append(b, ">1 "...)
	b = time.UnixMicro(e.Time).UTC().AppendFormat(b, timeForm)
	b = append(b, s.head...)
	b = append(b, token(e.Kind.String(), 32)...)
	b = append(b, ' ')
	b = append(b, s.sd...)
	for _, p := range params(e) {
		b = appendParam(b, p[0], p[1])
	}
	b = append(b, "] \xef\xbb\xbf"...)
	return append(b, clean(sentence(e))...)
}

func params(e *wal.Event) [][2]string {
	step, status, micros := "", "", ""
	if e.Step >= 0 {
		step = strconv.Itoa(int(e.Step))
	}
	if e.Status != 0 {
		status = strconv.Itoa(e.Status)
	}
	if e.Micros != 0 {
		micros = strconv.FormatUint(e.Micros, 10)
	}
	return [][2]string{
		{"tenant", e.Tenant}, {"index", strconv.FormatUint(e.Index, 10)}, {"id", e.ID}, {"agent", e.Agent}, {"user", e.User},
		{"op", e.Op}, {"server", e.Server}, {"tool", e.Tool}, {"plan", e.PlanID}, {"step", step}, {"token", e.Token},
		{"verdict", e.Verdict}, {"code", e.Code}, {"of", e.Of}, {"outcome", e.Outcome}, {"status", status}, {"micros", micros},
	}
}

// appendParam escapes as RFC 5424, 6.3.3 wants it. What is empty is left out.
func appendParam(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, `="`...)
	for _, c := range []byte(clean(value)) {
		if c == '"' || c == '\\' || c == ']' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// clean keeps a name from the hands of others from ending a line or steering a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// token makes a field of the header: printable US-ASCII without spaces, of a length; "-" when nothing is left.
func token(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}
