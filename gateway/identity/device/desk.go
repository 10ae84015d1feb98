// Package device is the desk where a program without a key signs in (RFC 8628): it takes a code for itself and one for a
// person, the person says yes or no under their own key, and the program collects what was granted.
//
// Everything stands in memory and within bounds; a restart forgets it, and the program begins again. The device code is
// the secret, and only its hash is kept; the user code is short because people type it, and opens nothing: who looks at
// it or decides has shown a management key before.
package device

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Errors of the desk. The first five are the answers RFC 8628 knows.
var (
	ErrPending  = errors.New("nobody has decided yet")
	ErrSlowDown = errors.New("asked again too soon")
	ErrExpired  = errors.New("the code has expired")
	ErrDenied   = errors.New("the sign-in was denied")
	ErrUnknown  = errors.New("no such code")
	ErrDecided  = errors.New("the sign-in is decided already")
	ErrLimit    = errors.New("too many sign-ins are waiting")
)

// Config bounds the desk.
type Config struct {
	TTL       time.Duration // how long a code waits
	Interval  time.Duration // between two polls of one program
	Entries   int           // sign-ins in all, ended ones included until their codes expire
	PerSource int           // sign-ins of one address, of one /64 for IPv6
}

// DefaultConfig is ten minutes, five seconds, 1000 sign-ins and ten of one address.
func DefaultConfig() Config {
	return Config{TTL: 10 * time.Minute, Interval: 5 * time.Second, Entries: 1000, PerSource: 10}
}

// Code is what a sign-in begins with.
type Code struct {
	Device    string // the program's, 43 characters; a secret
	User      string // the person's, XXXX-XXXX
	ExpiresIn time.Duration
	Interval  time.Duration
}

// Format keeps the device code out of logs: every verb prints the user code.
func (c Code) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "device code "+c.User) }

// Grant is what a program collects: a runtime key and whose it is.
type Grant struct {
	Secret string // the key itself
	Key    string // its id
	Tenant string
	User   string // usr_..., who answers for the agent
	Email  string // may be empty
	Agent  string // agt_...
}

// Format keeps the secret out of logs: every verb prints the key's id.
func (g Grant) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "grant of "+g.Key) }

// State is how a sign-in stands.
type State string

// The states. A sign-in that was collected or has expired is ErrUnknown or ErrExpired.
const (
	Pending  State = "pending"
	Approved State = "approved" // decided, not collected yet
	Denied   State = "denied"
)

// View is a sign-in as people see it, who have to recognise their own.
type View struct {
	User    string // the user code
	State   State
	Source  netip.Addr // where the program asked from
	Created time.Time
	Expires time.Time
	Tenant  string // of who decided, empty while nobody has; another tenant's are none of one's business
	Agent   string // that was granted
	Key     string // id of the key that was granted
}

// Desk is safe for concurrent use.
type Desk struct {
	config Config
	now    func() time.Time
	rand   io.Reader

	mu      sync.Mutex
	devices map[[sha256.Size]byte]*signIn // guarded by mu, by the hash of the device code
	users   map[string]*signIn            // guarded by mu, the same ones by user code
	sources map[netip.Prefix]int          // guarded by mu, how many of them each address has
}

// signIn is guarded by its desk's mu.
type signIn struct {
	view   View
	hash   [sha256.Size]byte
	source netip.Prefix
	polled time.Time
	grant  *Grant
}

// New opens a desk.
func New(c Config, now func() time.Time, rand io.Reader) (*Desk, error) {
	if c.TTL < time.Second || c.TTL > time.Hour || c.Interval < 0 || c.Interval > time.Minute || c.Entries < 1 || c.PerSource < 1 {
		return nil, errors.New("device desk: ttl must be 1s to 1h, interval 0 to 1m, the bounds at least 1")
	}
	return &Desk{
		config: c, now: now, rand: rand,
		devices: map[[sha256.Size]byte]*signIn{}, users: map[string]*signIn{}, sources: map[netip.Prefix]int{},
	}, nil
}

// Begin makes a pair of codes for a program at this address. ErrLimit when it, or all together, have too many.
func (d *Desk) Begin(source netip.Addr) (Code, error) {
	device, err := newSecret(d.rand)
	if err != nil {
		return Code{}, fmt.Errorf("begin sign-in: %w", err)
	}
	now := d.now()
	s := &signIn{hash: sha256.Sum256([]byte(device)), source: group(source)}
	s.view = View{State: Pending, Source: source.Unmap().WithZone(""), Created: now, Expires: now.Add(d.config.TTL)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(now)
	if len(d.users) >= d.config.Entries || d.sources[s.source] >= d.config.PerSource {
		return Code{}, fmt.Errorf("begin sign-in: %w", ErrLimit)
	}
	if s.view.User, err = d.freshCode(); err != nil {
		return Code{}, fmt.Errorf("begin sign-in: %w", err)
	}
	d.devices[s.hash], d.users[s.view.User] = s, s
	d.sources[s.source]++
	return Code{Device: device, User: s.view.User, ExpiresIn: d.config.TTL, Interval: d.config.Interval}, nil
}

// Poll collects the grant, once: the next Poll is ErrUnknown. Before that it is one of the errors above. A poll that came
// too soon does not put off the next one.
func (d *Desk) Poll(deviceCode string) (Grant, error) {
	hash := sha256.Sum256([]byte(deviceCode))
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.devices[hash]
	if s == nil || subtle.ConstantTimeCompare(s.hash[:], hash[:]) != 1 {
		return Grant{}, ErrUnknown
	}
	// A tenth less than the interval, since a program's clock is not ours.
	early := !s.polled.IsZero() && now.Before(s.polled.Add(d.config.Interval-d.config.Interval/10))
	switch {
	case !now.Before(s.view.Expires):
		d.forget(s)
		return Grant{}, ErrExpired
	case s.view.State == Denied:
		return Grant{}, ErrDenied
	case early:
		return Grant{}, ErrSlowDown
	}
	s.polled = now
	if s.grant == nil {
		return Grant{}, ErrPending
	}
	d.forget(s)
	return *s.grant, nil
}

// Look shows a sign-in by its user code, however it is typed.
func (d *Desk) Look(userCode string) (View, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.find(userCode)
	if err != nil {
		return View{}, err
	}
	return s.view, nil
}

// Approve grants; the program collects it. ErrDecided when somebody was faster: then the grant went nowhere, and what it
// holds is to be taken back.
func (d *Desk) Approve(userCode string, g Grant) error {
	if g.Secret == "" || g.Tenant == "" {
		return errors.New("approve sign-in: the grant is empty")
	}
	return d.decide(userCode, func(s *signIn) {
		s.grant = &g
		s.view.State, s.view.Tenant, s.view.Agent, s.view.Key = Approved, g.Tenant, g.Agent, g.Key
	})
}

// Deny refuses for good, on behalf of a tenant.
func (d *Desk) Deny(userCode, tenant string) error {
	return d.decide(userCode, func(s *signIn) { s.view.State, s.view.Tenant = Denied, tenant })
}

func (d *Desk) decide(userCode string, how func(*signIn)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.find(userCode)
	if err != nil {
		return err
	}
	if s.view.State != Pending {
		return ErrDecided
	}
	how(s)
	return nil
}

// find must be called under mu.
func (d *Desk) find(userCode string) (*signIn, error) {
	s := d.users[Spell(userCode)]
	switch {
	case s == nil:
		return nil, ErrUnknown
	case !d.now().Before(s.view.Expires):
		return nil, ErrExpired
	}
	return s, nil
}

// sweep throws out what has expired. It must be called under mu.
func (d *Desk) sweep(now time.Time) {
	for _, s := range d.users {
		if !now.Before(s.view.Expires) {
			d.forget(s)
		}
	}
}

// forget must be called under mu.
func (d *Desk) forget(s *signIn) {
	if d.devices[s.hash] != s {
		return
	}
	delete(d.devices, s.hash)
	delete(d.users, s.view.User)
	if d.sources[s.source]--; d.sources[s.source] == 0 {
		delete(d.sources, s.source)
	}
}

// letters are those of RFC 8628, section 6.1: no vowels, so that no word comes out, and no two that look alike.
const letters = "BCDFGHJKLMNPQRSTVWXZ"

// codeLen is how many letters a user code has: 20^8 codes, of which Entries are in use.
const codeLen = 8

// freshCode makes a user code that nobody has. It must be called under mu.
func (d *Desk) freshCode() (string, error) {
	for range 16 {
		code, err := newCode(d.rand)
		if err != nil || d.users[code] == nil {
			return code, err
		}
	}
	return "", errors.New("draw a user code: the source of randomness is broken")
}

// newCode draws letters without bias: bytes of 240 (12 * 20) and above are thrown away, so 64 are enough but for a broken
// source.
func newCode(rand io.Reader) (string, error) {
	var draw [64]byte
	if _, err := io.ReadFull(rand, draw[:]); err != nil {
		return "", fmt.Errorf("draw a user code: %w", err)
	}
	code := make([]byte, 0, codeLen+1)
	for _, b := range draw {
		if b >= 240 {
			continue
		}
		if len(code) == codeLen/2 {
			code = append(code, '-')
		}
		if code = append(code, letters[b%20]); len(code) == codeLen+1 {
			return string(code), nil
		}
	}
	return "", errors.New("draw a user code: the source of randomness is broken")
}

// Spell writes a user code as it was given out, from how a person types it: any case, with or without the dash or
// blanks. What cannot be a code comes back empty.
func Spell(typed string) string {
	if len(typed) > 4*codeLen {
		return ""
	}
	code := make([]byte, 0, codeLen+1)
	for _, c := range []byte(typed) {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		switch {
		case c == '-' || c == ' ':
			continue
		case strings.IndexByte(letters, c) < 0 || len(code) > codeLen:
			return ""
		case len(code) == codeLen/2:
			code = append(code, '-')
		}
		code = append(code, c)
	}
	if len(code) != codeLen+1 {
		return ""
	}
	return string(code)
}

func newSecret(rand io.Reader) (string, error) {
	var raw [32]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw a device code: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// group is whose bound an address counts against: whoever has one IPv6 address has a /64 of them.
func group(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Addr gives the zero Prefix: unknown sources share one bound
	return p
}
