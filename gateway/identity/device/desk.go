// Package device is the desk where a program without a key signs in (RFC 8628): it takes a code for itself and one for a
// person, the person says yes or no under their own key, and the program collects what was granted.
//
// Everything stands in memory and within bounds; a restart forgets it, and the program begins again. The device code is
// the secret, and only its hash is kept; the user code is short because people type it, and opens nothing: who looks at
// it or decides has shown a management key before.
//
// Beginning needs no credential, so room is shared out: an address, its network and the desk have bounds, and at a bound
// what is over makes room, then what weighs on the desk, then what has waited longest; see Config. What this
// comes to: a program that does not poll holds its place for Config.Quiet at most once another wants it. To have an
// address refused whose region is not on the desk, every place must be polled for and be of another region, Entries of them
// in all, or be approved by somebody with a key; and after Config.Patience it gets one even so.
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

// Config bounds the desk. A sign-in that is over, by being denied or quiet, counts until another needs its place.
type Config struct {
	TTL        time.Duration // how long a code waits
	Interval   time.Duration // between two polls of one program
	Quiet      time.Duration // after that without a poll the program is taken for gone, in half of it if it never polled
	Patience   time.Duration // so long a sign-in keeps its place, against any that comes from where there are fewer
	Entries    int           // sign-ins in all
	PerNetwork int           // of one /24, for IPv6 one /48
	PerSource  int           // of one address, for IPv6 one /64
}

// DefaultConfig is ten minutes, five seconds, half a minute, two minutes, and 1000 sign-ins of which a network has 250 and
// an address 32: behind a proxy that is not trusted, that is everybody.
func DefaultConfig() Config {
	return Config{
		TTL: 10 * time.Minute, Interval: 5 * time.Second, Quiet: 30 * time.Second, Patience: 2 * time.Minute,
		Entries: 1000, PerNetwork: 250, PerSource: 32,
	}
}

func (c Config) check() error {
	switch {
	case c.TTL < time.Second || c.TTL > time.Hour || c.Interval < 0 || c.Interval > time.Minute:
		return errors.New("device desk: ttl must be 1s to 1h, interval 0 to 1m")
	case c.Quiet < time.Second || c.Quiet < 3*c.Interval || c.Patience < c.Quiet:
		return errors.New("device desk: quiet must be at least 1s and three intervals, patience no less")
	case c.Entries < 1 || c.PerNetwork < 1 || c.PerSource < 1:
		return errors.New("device desk: the bounds must be at least 1")
	}
	return nil
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
	groups  map[place]*group              // guarded by mu, how many of them there are from where
}

// signIn is guarded by its desk's mu.
type signIn struct {
	view   View
	hash   [sha256.Size]byte
	of     groups
	polled time.Time // zero: never
	grant  *Grant
}

// New opens a desk.
func New(c Config, now func() time.Time, rand io.Reader) (*Desk, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return &Desk{
		config: c, now: now, rand: rand,
		devices: map[[sha256.Size]byte]*signIn{}, users: map[string]*signIn{}, groups: map[place]*group{},
	}, nil
}

// Begin makes a pair of codes for a program at this address. ErrLimit when it, its network or all together have
// too many and none that has to make room; a program whose sign-in was put out begins again.
func (d *Desk) Begin(source netip.Addr) (Code, error) {
	device, err := newSecret(d.rand)
	if err != nil {
		return Code{}, fmt.Errorf("begin sign-in: %w", err)
	}
	now := d.now()
	s := &signIn{hash: sha256.Sum256([]byte(device))}
	s.view = View{State: Pending, Source: source.Unmap().WithZone(""), Created: now, Expires: now.Add(d.config.TTL)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(now)
	s.of = d.groupsOf(source)
	out, ok := d.room(s, now)
	if !ok {
		return Code{}, fmt.Errorf("begin sign-in: %w", ErrLimit)
	}
	if s.view.User, err = d.freshCode(); err != nil {
		return Code{}, fmt.Errorf("begin sign-in: %w", err)
	}
	if out != nil {
		d.forget(out)
	}
	d.devices[s.hash], d.users[s.view.User] = s, s
	d.join(s.of)
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
	d.leave(s.of)
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
