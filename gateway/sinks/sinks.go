// Package sinks hands the ledger's events on to receivers outside: syslog, OTLP logs, webhooks. Each sink follows the
// ledger on its own, from a cursor that is kept durably, and counts an event as delivered only when its receiver has
// taken it: after a restart, or a kill, every event is delivered at least once, in order. A receiver that is slow or
// dead costs its own lag and nothing else; nothing is ever dropped for it.
//
// What leaves is what a record says in the clear: who, what, when, the verdict and the outcome; never arguments,
// results or credentials. Addresses and secrets come from the operator's configuration only, redirects are not followed,
// and certificates are verified. No error and no log line of this package holds a secret.
package sinks

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Kinds of sink.
const (
	Syslog  = "syslog"  // RFC 5424 over udp, tcp (RFC 6587 octet counting) or tls (RFC 5425)
	OTLP    = "otlp"    // OpenTelemetry logs, OTLP over HTTP with protobuf
	Webhook = "webhook" // JSON batches with an HMAC signature
)

// All is the tenant of a sink that gets every tenant's events, the instance's own included: the operator's.
const All = "_all"

// minSecret is the shortest key of a webhook's signature in bytes: half of what HMAC-SHA256 can use (RFC 2104, 3).
const minSecret = 16

// Config is one sink.
type Config struct {
	Name    string   // [a-z0-9][a-z0-9-]{0,62}; also names its cursor
	Type    string   // Syslog, OTLP or Webhook
	URL     string   // udp://, tcp:// or tls://HOST:PORT for syslog; http:// or https:// for the others
	Tenant  string   // whose events; All for everybody's
	Kinds   []string // kinds of record; none: all
	FromTip bool     // begin at the end of the ledger when there is no cursor yet, and not at its beginning

	Batch    int           // most events sent at once, 1 to 4096
	Wait     time.Duration // longest an event waits for company while the sink keeps up
	Timeout  time.Duration // of one attempt
	RetryMin time.Duration // pause after the first failure; it doubles with each
	RetryMax time.Duration // longest pause

	Secret     []byte         // webhook: the signature's key; otlp: the value of Header
	Header     string         // otlp: header that carries Secret
	Roots      *x509.CertPool // nil: the system's
	Confirm    bool           // syslog over tcp and tls: delivered only when the receiver closed in turn
	Enterprise int            // syslog: private enterprise number in the SD-ID (RFC 5424, 7.2.2)
}

// Validate refuses a sink that cannot work. Its error holds neither the URL nor the secret.
func (c *Config) Validate() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("url: want a scheme and a host, and no user info or fragment")
	}
	switch {
	case !ledger.ValidTenant(c.Name) || c.Name == ledger.InstanceTenant:
		return fmt.Errorf("name %q: want 1 to 63 of a-z, 0-9 and -", c.Name)
	case c.Tenant != All && !ledger.ValidTenant(c.Tenant):
		return fmt.Errorf("tenant %q: want an organisation, or %q", c.Tenant, All)
	case c.Batch < 1 || c.Batch > 4096:
		return fmt.Errorf("batch %d: want 1 to 4096", c.Batch)
	case c.Wait < 0 || c.Timeout <= 0 || c.RetryMin <= 0 || c.RetryMax < c.RetryMin:
		return errors.New("times: want a timeout and pauses above zero, retry_max not below retry_min")
	}
	for _, k := range c.Kinds {
		if ledger.ParseKind(k) == ledger.Unknown {
			return fmt.Errorf("kind %q: there is no such kind of record", k)
		}
	}
	return c.validateType(u)
}

func (c *Config) validateType(u *url.URL) error {
	schemes := []string{"http", "https"}
	if c.Type == Syslog {
		schemes = []string{"udp", "tcp", "tls"}
	}
	switch {
	case c.Type != Syslog && c.Type != OTLP && c.Type != Webhook:
		return fmt.Errorf("type %q: want %s, %s or %s", c.Type, Syslog, OTLP, Webhook)
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("url: want a scheme of %v for %s", schemes, c.Type)
	case c.Type == Syslog && (u.Port() == "" || u.Path != "" || u.RawQuery != ""):
		return errors.New("url: want SCHEME://HOST:PORT for syslog")
	case c.Type == Syslog && c.Enterprise < 1:
		return errors.New("enterprise: want a private enterprise number")
	case c.Type == Webhook && len(c.Secret) < minSecret:
		return fmt.Errorf("secret: want at least %d bytes to sign with", minSecret)
	case c.Type == OTLP && (c.Header == "") != (len(c.Secret) == 0):
		return errors.New("header and secret are set together")
	case c.Type == Syslog && len(c.Secret) > 0, c.Type != OTLP && c.Header != "":
		return errors.New("secret and header: syslog takes none, a webhook no header")
	}
	return nil
}

// Plain tells whether what is sent can be read on its way.
func (c *Config) Plain() bool {
	u, err := url.Parse(c.URL)
	return err != nil || u.Scheme != "https" && u.Scheme != "tls"
}

// address is the URL without what may hold a secret.
func (c *Config) address() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Source is the log that is followed; wal.Log is one.
type Source interface {
	Follow(ctx context.Context, from wal.Cursor, fn func(ctx context.Context, events []wal.Event, next wal.Cursor) error) error
	Tip() (wal.Cursor, uint64)
}

// Options is what all sinks share.
type Options struct {
	Dir      string  // of the cursors, one file for each sink
	Key      []byte  // authenticates the cursors, at least 32 bytes, of this use alone
	FS       disk.FS // nil: the operating system's
	Source   Source
	Host     string // of the ledger's origin
	Instance string
	Version  string // of the program
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
}

// Set is all sinks of a gateway, at work.
type Set struct {
	list []*sink
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// saveEvery is how often cursors that moved are stored: so much is delivered again after a kill.
const saveEvery = time.Second

// Open reads the cursors and starts every sink. A cursor's file that is damaged, or not authenticated by Key, is an error: nobody can say what its
// receiver has. It must be removed to begin anew.
func Open(o Options, list []Config) (*Set, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if len(list) > 0 && len(o.Key) < minKey {
		return nil, fmt.Errorf("sinks: want a key of at least %d bytes for cursors", minKey)
	}
	s := &Set{}
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return nil, fmt.Errorf("sink %q: %w", list[i].Name, err)
		}
		k, err := newSink(o, list[i])
		if err != nil {
			return nil, fmt.Errorf("sink %q: %w", list[i].Name, err)
		}
		s.list = append(s.list, k)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	for _, k := range s.list {
		s.wg.Go(func() { k.run(ctx) })
	}
	s.wg.Go(func() { s.keep(ctx) })
	return s, nil
}

// keep stores the cursors that moved, again and again, and once more at the end.
func (s *Set) keep(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.save()
		}
	}
}

func (s *Set) save() {
	for _, k := range s.list {
		_ = k.save() // it is in the sink's state, and tried again
	}
}

// Close ends all sinks and stores their cursors. What was under way is delivered again after the next start.
func (s *Set) Close(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("close sinks: %w", context.Cause(ctx))
	}
	var errs []error
	for _, k := range s.list {
		errs = append(errs, k.save())
		k.out.close()
	}
	return errors.Join(errs...)
}

// State is how a sink does.
type State struct {
	Name, Type, Tenant string
	Address            string // scheme, host and port
	Kinds              []string
	Lag                uint64 // records of the ledger that it has not got past
	Sent, Failed       uint64 // events delivered, and attempts that failed, since the start
	Lost               uint64 // times that records were left out: pruned before they were delivered, or passed over
	Rejected           uint64 // events that a receiver took and refused for good (OTLP partial success)
	Unread             uint64 // batches that were delivered (2xx) with an answer that cannot be read
	LastError          string
	LastErrorAt        time.Time
	LastSuccess        time.Time
	Cursor             string
}

// States tells how each sink does, in the order of the configuration.
func (s *Set) States() []State {
	out := make([]State, 0, len(s.list))
	for _, k := range s.list {
		out = append(out, k.state())
	}
	return out
}

func cursorName(dir, sink string) string { return filepath.Join(dir, sink+".cursor") }
