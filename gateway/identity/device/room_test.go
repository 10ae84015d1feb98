package device_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/device"
)

// from begins a sign-in at an address, "" is an unknown one.
func (d *desk) from(addr string, want error) device.Code {
	d.t.Helper()
	var a netip.Addr
	if addr != "" {
		a = netip.MustParseAddr(addr)
	}
	c, err := d.Begin(a)
	if !errors.Is(err, want) {
		d.t.Fatalf("%s: got %v, want %v", addr, err, want)
	}
	return c
}

// pass lets time go by while the programs of these sign-ins poll.
func (d *desk) pass(long time.Duration, polling ...device.Code) {
	d.t.Helper()
	for ; long > 0; long -= 5 * time.Second {
		d.now = d.now.Add(min(long, 5*time.Second))
		for _, c := range polling {
			d.polls(c.Device, device.ErrPending)
		}
	}
}

func (d *desk) stands(what string, c device.Code, want bool) {
	d.t.Helper()
	if _, err := d.Look(c.User); (err == nil) != want || err != nil && !errors.Is(err, device.ErrUnknown) {
		d.t.Errorf("%s: got %v", what, err)
	}
}

func small(c *device.Config) { c.Entries, c.PerNetwork, c.PerSource = 8, 4, 3 }

func TestWhoWaitsInTurnIsNotPutOut(t *testing.T) {
	d := open(t, small)
	var waiting []device.Code
	for range 3 {
		waiting = append(waiting, d.from("192.0.2.7", nil))
	}
	d.from("192.0.2.7", device.ErrLimit) // younger than a first poll could be
	d.pass(115*time.Second, waiting...)
	d.from("::ffff:192.0.2.7", device.ErrLimit)
	d.now = d.now.Add(4 * time.Second)
	d.from("192.0.2.7", device.ErrLimit)
	d.from("192.0.2.8", nil) // the network has more
	d.from("192.0.2.9", nil) // and there the heaviest gives way
	n := 0
	for _, c := range waiting {
		if _, err := d.Look(c.User); err == nil {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d of the heaviest are left", n)
	}
}

func TestWhatIsOverMakesRoomFirst(t *testing.T) {
	d := open(t, small)
	alive, denied, gone := d.from("192.0.2.7", nil), d.from("192.0.2.7", nil), d.from("192.0.2.7", nil)
	d.from("192.0.2.7", device.ErrLimit)
	if err := d.Deny(denied.User, "acme"); err != nil {
		t.Fatal(err)
	}
	never := d.from("192.0.2.7", nil)
	d.stands("denied", denied, false)
	d.from("192.0.2.7", device.ErrLimit)
	d.pass(15*time.Second, alive, gone)
	last := d.from("192.0.2.7", nil)
	d.stands("never polled", never, false)
	d.pass(25*time.Second, alive, last)
	d.from("192.0.2.7", device.ErrLimit)
	d.pass(5*time.Second, alive, last)
	d.from("192.0.2.7", nil)
	d.stands("not polled any more", gone, false)
	d.stands("alive", alive, true)
	d.stands("polled all the time", last, true)
}

func TestWhatIsApprovedIsNotPutOutBeforeItIsCollected(t *testing.T) {
	d := open(t, small)
	approved := d.from("192.0.2.7", nil)
	if err := d.Approve(approved.User, grant); err != nil {
		t.Fatal(err)
	}
	for range 23 { // just below two minutes
		d.now = d.now.Add(5 * time.Second)
		for range 9 {
			_, _ = d.Begin(home)
		}
	}
	if g, err := d.Poll(approved.Device); err != nil || g != grant {
		t.Errorf("got %+v, %v", g, err)
	}
	dead := d.from("192.0.2.8", nil)
	if err := d.Approve(dead.User, grant); err != nil {
		t.Fatal(err)
	}
	d.now = d.now.Add(2 * time.Minute)
	for range 3 {
		d.from("192.0.2.8", nil)
	}
	d.stands("approved for a program that is gone", dead, false)
}

func TestOneAddressIsNotShutForLong(t *testing.T) {
	d := open(t, small)
	var held []device.Code
	for range 3 {
		held = append(held, d.from("192.0.2.7", nil))
		d.pass(5*time.Second, held...)
	}
	d.pass(100*time.Second, held...)
	d.from("192.0.2.7", device.ErrLimit)
	d.pass(5*time.Second, held...)
	d.from("192.0.2.7", nil)
	d.stands("the eldest", held[0], false)
	d.stands("the second", held[1], true)
	d.from("192.0.2.7", device.ErrLimit)
}

func TestANetworkHasAShareOfTheDesk(t *testing.T) {
	for network, addr := range map[string]string{"/48": "2001:db8:1:%x::1", "/24": "203.0.113.%d"} {
		d := open(t, func(c *device.Config) { c.Entries, c.PerNetwork, c.PerSource = 100, 10, 3 })
		for i := range 10 {
			d.from(fmt.Sprintf(addr, i), nil)
		}
		d.from(fmt.Sprintf(addr, 99), device.ErrLimit)
		other := d.from("", nil)
		if err := d.Deny(other.User, "acme"); err != nil {
			t.Fatal(err)
		}
		d.from(fmt.Sprintf(addr, 99), device.ErrLimit)
		d.stands("another network's, though it is over", other, true)
		d.from("198.51.100.1", nil)
		d.from("2001:db8:2::1", nil)
		if t.Failed() {
			t.Fatalf("of a %s", network)
		}
	}
	d := open(t, small)
	for _, a := range []string{"2001:db8::1", "2001:db8::2%eth0", "2001:db8:0:0:ffff::"} {
		d.from(a, nil)
	}
	d.from("2001:db8::3", device.ErrLimit)
	for range 3 {
		d.from("", nil)
	}
	d.from("", device.ErrLimit)
}

// Whoever fills the desk from few networks, polling as a program would, takes nothing from whoever comes from another.
func TestAStrangerDoesNotFillTheDesk(t *testing.T) {
	d := open(t, nil)
	hostile := func(i int) string { return fmt.Sprintf("2001:db8:%x:%x::1", i%8, i/8) }
	for i := range 1500 {
		_, _ = d.Begin(netip.MustParseAddr(hostile(i)))
	}
	var honest []device.Code
	for i := range 100 {
		honest = append(honest, d.from(fmt.Sprintf("198.51.%d.7", i), nil))
	}
	honest = append(honest, d.from("2001:db8:abcd::1", nil), d.from("2001:db8:abcd::1", nil)) // beside them
	for i := range 1500 {
		_, _ = d.Begin(netip.MustParseAddr(hostile(1500 + i)))
	}
	for i, c := range honest {
		d.stands(fmt.Sprint("honest ", i), c, true)
	}
	d.pass(10*time.Minute-5*time.Second, honest...)
	for i := range 1500 {
		_, _ = d.Begin(netip.MustParseAddr(hostile(i)))
	}
	for i, c := range honest {
		d.stands(fmt.Sprint("honest, later ", i), c, true)
	}
}

func TestOneProviderDoesNotFillTheDesk(t *testing.T) {
	for what, addr := range map[string]string{"/32": "2001:db8:%x::1", "/16": "203.0.%d.1"} {
		d := open(t, func(c *device.Config) { c.Entries = 50 })
		for i := range 50 {
			d.from(fmt.Sprintf(addr, i), nil)
		}
		d.from(fmt.Sprintf(addr, 50), device.ErrLimit)
		for _, a := range []string{"2001:db9::1", "198.51.100.1"} {
			if _, err := d.Begin(netip.MustParseAddr(a)); err != nil {
				t.Errorf("one %s keeps %q out: %v", what, a, err)
			}
		}
	}
}

// The bound the package doc states: as many regions as there are places, all polled, and not for long.
func TestAFullDeskOpensAgain(t *testing.T) {
	d := open(t, func(c *device.Config) { c.Entries = 50 })
	var held []device.Code
	for i := range 50 {
		held = append(held, d.from(fmt.Sprintf("10.%d.0.1", i), nil))
	}
	d.pass(115*time.Second, held...)
	d.from("192.0.2.7", device.ErrLimit)
	d.from("10.0.0.1", device.ErrLimit)
	d.pass(5*time.Second, held...)
	d.from("10.0.1.1", nil)
	d.stands("the eldest of its region", held[0], false)
	d.from("192.0.2.7", nil)
	d.from("192.0.2.7", device.ErrLimit)
}

func TestABrokenSourceOfRandomnessPutsNobodyOut(t *testing.T) {
	c := device.DefaultConfig()
	c.PerSource = 1
	d, err := device.New(c, time.Now, bytes.NewReader(make([]byte, 96+32)))
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.Begin(home)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Deny(first.User, "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Begin(home); err == nil || errors.Is(err, device.ErrLimit) {
		t.Errorf("got %v", err)
	}
	if _, err := d.Look(first.User); err != nil {
		t.Errorf("put out for nobody: %v", err)
	}
}

// However it was used, an emptied desk has all its room again, and never had more.
func TestRoomIsNeitherLostNorWon(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	d := open(t, small)
	var codes []device.Code
	for range 5000 {
		switch c := (device.Code{}); random.IntN(6) {
		case 0, 1, 2:
			c, err := d.Begin(netip.AddrFrom4([4]byte{10, byte(random.IntN(3)), byte(random.IntN(2)), byte(random.IntN(3))}))
			if err == nil {
				codes = append(codes, c)
			} else if !errors.Is(err, device.ErrLimit) {
				t.Fatal(err)
			}
		case 3:
			d.now = d.now.Add(time.Duration(random.IntN(60)) * time.Second)
		default:
			if len(codes) == 0 {
				continue
			}
			c = codes[len(codes)-1-random.IntN(min(len(codes), 12))]
			switch random.IntN(4) {
			case 0:
				_ = d.Deny(c.User, "acme")
			case 1:
				_ = d.Approve(c.User, grant)
			default:
				_, _ = d.Poll(c.Device)
			}
		}
		standing := 0
		for _, c := range codes[max(0, len(codes)-64):] {
			if _, err := d.Look(c.User); err == nil {
				standing++
			}
		}
		if standing > 8 {
			t.Fatalf("%d stand", standing)
		}
	}
	d.now = d.now.Add(time.Hour)
	for _, a := range []string{"10.0.0.0", "10.0.0.0", "10.0.0.0", "10.0.0.1", "10.1.0.0", "10.1.0.0", "10.1.0.0", "10.1.0.1"} {
		d.from(a, nil)
	}
	d.from("10.0.0.0", device.ErrLimit)
	d.from("10.1.0.0", device.ErrLimit)
	d.from("192.0.2.7", nil)
}
