package device_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/device"
)

var (
	home  = netip.MustParseAddr("192.0.2.7")
	grant = device.Grant{Secret: "ak_live_secret", Key: "key_1", Tenant: "acme", User: "usr_1", Email: "ada@example.org", Agent: "agt_1"}
)

// desk is one whose clock only moves when told.
type desk struct {
	*device.Desk
	t   *testing.T
	now time.Time
}

func open(t *testing.T, change func(*device.Config)) *desk {
	t.Helper()
	d := &desk{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	c := device.DefaultConfig()
	if change != nil {
		change(&c)
	}
	var err error
	if d.Desk, err = device.New(c, func() time.Time { return d.now }, rand.Reader); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) begin() device.Code {
	d.t.Helper()
	c, err := d.Begin(home)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *desk) polls(code string, want error) {
	d.t.Helper()
	g, err := d.Poll(code)
	if !errors.Is(err, want) || g != (device.Grant{}) {
		d.t.Errorf("got %v, %v, want %v", g, err, want)
	}
}

func TestNothingIsGrantedBeforeItIsApprovedOrTwice(t *testing.T) {
	d := open(t, nil)
	c := d.begin()
	if c.ExpiresIn != 10*time.Minute || c.Interval != 5*time.Second || len(c.Device) != 43 {
		t.Fatalf("%+v", c)
	}
	d.polls(c.Device, device.ErrPending)
	d.polls(c.Device, device.ErrSlowDown)
	d.now = d.now.Add(4 * time.Second)
	d.polls(c.Device, device.ErrSlowDown)
	d.now = d.now.Add(time.Second)
	d.polls(c.Device, device.ErrPending)
	d.polls(c.User, device.ErrUnknown)
	d.polls("", device.ErrUnknown)
	d.polls(c.Device+"A", device.ErrUnknown)
	if err := d.Approve(c.Device, grant); !errors.Is(err, device.ErrUnknown) {
		t.Errorf("approved by the device code: %v", err)
	}
	if err := d.Approve(c.User, device.Grant{}); err == nil {
		t.Error("an empty grant was taken")
	}
	if err := d.Approve(c.User, grant); err != nil {
		t.Fatal(err)
	}
	if err := d.Approve(c.User, grant); !errors.Is(err, device.ErrDecided) {
		t.Errorf("approved twice: %v", err)
	}
	if err := d.Deny(c.User, "other"); !errors.Is(err, device.ErrDecided) {
		t.Errorf("denied after it was approved: %v", err)
	}
	d.now = d.now.Add(5 * time.Second)
	if g, err := d.Poll(c.Device); err != nil || g != grant {
		t.Fatalf("got %+v, %v", g, err)
	}
	d.polls(c.Device, device.ErrUnknown)
	if _, err := d.Look(c.User); !errors.Is(err, device.ErrUnknown) {
		t.Errorf("a collected sign-in is shown: %v", err)
	}
}

func TestADeniedSignInStaysDenied(t *testing.T) {
	d := open(t, nil)
	c := d.begin()
	if err := d.Deny(c.User, "acme"); err != nil {
		t.Fatal(err)
	}
	if err := d.Approve(c.User, grant); !errors.Is(err, device.ErrDecided) {
		t.Errorf("approved after it was denied: %v", err)
	}
	d.polls(c.Device, device.ErrDenied)
	d.polls(c.Device, device.ErrDenied)
	if v, err := d.Look(c.User); err != nil || v.State != device.Denied || v.Tenant != "acme" {
		t.Errorf("%+v %v", v, err)
	}
}

func TestAnExpiredSignInGrantsNothing(t *testing.T) {
	d := open(t, nil)
	c, approved := d.begin(), d.begin()
	if err := d.Approve(approved.User, grant); err != nil {
		t.Fatal(err)
	}
	d.now = d.now.Add(10 * time.Minute)
	if err := d.Approve(c.User, grant); !errors.Is(err, device.ErrExpired) {
		t.Errorf("approved after its end: %v", err)
	}
	if _, err := d.Look(c.User); !errors.Is(err, device.ErrExpired) {
		t.Errorf("shown after its end: %v", err)
	}
	d.polls(c.Device, device.ErrExpired)
	d.polls(approved.Device, device.ErrExpired)
	d.polls(approved.Device, device.ErrUnknown)
}

func TestWhatIsCollectedOrExpiredMakesRoom(t *testing.T) {
	d := open(t, func(c *device.Config) { c.Entries, c.PerSource = 5, 2 })
	first := d.from("192.0.2.7", nil)
	d.from("::ffff:192.0.2.7", nil)
	d.from("192.0.2.7", device.ErrLimit)
	if err := d.Approve(first.User, grant); err != nil {
		t.Fatal(err)
	}
	d.from("192.0.2.7", device.ErrLimit)
	if _, err := d.Poll(first.Device); err != nil {
		t.Fatal(err)
	}
	d.from("192.0.2.7", nil)
	d.from("192.0.2.7", device.ErrLimit)
	d.now = d.now.Add(10 * time.Minute)
	d.from("192.0.2.7", nil)
	d.from("192.0.2.7", nil)
	d.from("192.0.2.7", device.ErrLimit)
}

func TestAUserCodeIsReadHoweverItIsTyped(t *testing.T) {
	d := open(t, nil)
	c := d.begin()
	bare := strings.ReplaceAll(c.User, "-", "")
	for _, typed := range []string{c.User, strings.ToLower(c.User), bare, " " + bare[:2] + " " + bare[2:] + "--"} {
		if v, err := d.Look(typed); err != nil || v.User != c.User || v.State != device.Pending || v.Source != home || v.Expires.Sub(v.Created) != 10*time.Minute {
			t.Errorf("%q: %+v %v", typed, v, err)
		}
	}
	for _, typed := range []string{"", bare[:7], bare + "B", "AAAA-AAAA", "BCDF_GHJK", c.User + strings.Repeat("-", 100), "ſſſſ-ſſſſ"} {
		if got := device.Spell(typed); got != "" && got != c.User {
			t.Errorf("%q is read as %q", typed, got)
		}
		if _, err := d.Look(typed); !errors.Is(err, device.ErrUnknown) {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

func TestCodesAreUnlikeEachOtherAndHoldNoLookAlikes(t *testing.T) {
	d := open(t, func(c *device.Config) { c.PerSource, c.PerNetwork = 1000, 1000 })
	seen, used := map[string]bool{}, map[rune]bool{}
	for range 1000 {
		c := d.begin()
		if seen[c.User] || seen[c.Device] {
			t.Fatalf("%s came twice", c.User)
		}
		seen[c.User], seen[c.Device] = true, true
		if len(c.User) != 9 || c.User[4] != '-' || strings.ContainsAny(c.User, "AEIOUY0123456789") {
			t.Fatalf("code %q", c.User)
		}
		for _, r := range c.User {
			used[r] = true
		}
	}
	if len(used) != 21 {
		t.Errorf("%d letters and the dash are in use", len(used))
	}
}

func TestABrokenSourceOfRandomnessMakesNoCode(t *testing.T) {
	for name, source := range map[string][]byte{"short": make([]byte, 40), "empty": nil, "biased": bytes.Repeat([]byte{255}, 1000), "stuck": make([]byte, 96+64*20)} {
		d, err := device.New(device.DefaultConfig(), time.Now, bytes.NewReader(source))
		if err != nil {
			t.Fatal(err)
		}
		_, first := d.Begin(home)
		_, second := d.Begin(home)
		if first == nil && name != "stuck" || second == nil {
			t.Errorf("%s: codes were made: %v, %v", name, first, second)
		}
	}
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	c := device.Code{Device: "hush-hush", User: "BCDF-GHJK"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb+verb, c, grant); strings.Contains(got, "hush") || strings.Contains(got, "secret") || !strings.Contains(got, "key_1") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func TestOneGrantIsCollectedByOne(t *testing.T) {
	d := open(t, func(c *device.Config) { c.Interval = 0 })
	c := d.begin()
	var approved, collected atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if d.Approve(c.User, grant) == nil {
				approved.Add(1)
			}
			if _, err := d.Poll(c.Device); err == nil {
				collected.Add(1)
			}
		})
	}
	wg.Wait()
	if approved.Load() != 1 || collected.Load() != 1 {
		t.Errorf("approved %d times, collected %d times", approved.Load(), collected.Load())
	}
}

func TestADeskWithoutBoundsIsRefused(t *testing.T) {
	for i, change := range []func(*device.Config){
		func(c *device.Config) { c.TTL = 0 }, func(c *device.Config) { c.TTL = 2 * time.Hour }, func(c *device.Config) { c.Interval = -1 },
		func(c *device.Config) { c.Interval = time.Hour }, func(c *device.Config) { c.Entries = 0 }, func(c *device.Config) { c.PerSource = 0 },
		func(c *device.Config) { c.PerNetwork = 0 }, func(c *device.Config) { c.Quiet = 14 * time.Second }, func(c *device.Config) { c.Interval, c.Quiet = 0, 0 }, func(c *device.Config) { c.Patience = c.Quiet - 1 },
	} {
		c := device.DefaultConfig()
		change(&c)
		if _, err := device.New(c, time.Now, rand.Reader); err == nil {
			t.Errorf("%d: %+v was taken", i, c)
		}
	}
}
