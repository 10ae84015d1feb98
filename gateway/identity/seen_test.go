package identity_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
)

// shows lets d show new proofs for who until one is refused for want of room, and says how many passed.
func shows(t *testing.T, p *identity.Proofs, who identity.Caller, d *delegate, most int, at time.Time) int {
	t.Helper()
	for n := range most {
		err := p.VerifyFor(who, d.print, d.proof(map[string]any{"iat": at.Unix()}), "POST", target, shown, at)
		switch {
		case errors.Is(err, identity.ErrProofFull) && !errors.Is(err, identity.ErrProof):
			return n
		case err != nil:
			t.Fatal(err)
		}
	}
	return most
}

func TestOneAgentDoesNotFillTheMemoryOfProofs(t *testing.T) {
	const most = 1500
	p := identity.NewProofs(time.Minute, most)
	hostile, agent := identity.CallerOf("evil", "agt_1"), identity.CallerOf("acme", "agt_2")
	if n := shows(t, p, hostile, newDelegate(), most, start); n != most/15 {
		t.Errorf("one key takes %d of %d", n, most)
	}
	for range 64 { // as many keys as it likes
		shows(t, p, hostile, newDelegate(), most, start)
	}
	if n := p.Remembered(); n > most/7+1 {
		t.Errorf("one agent takes %d of %d", n, most)
	}
	sibling := identity.CallerOf("evil", "agt_3")
	if n := shows(t, p, sibling, newDelegate(), most, start); n < most/30 {
		t.Errorf("beside it another agent of its tenant has %d of %d", n, most)
	}
	for i := range 64 { // as many agents as it likes
		shows(t, p, identity.CallerOf("evil", fmt.Sprint("agt_e", i)), newDelegate(), most, start)
	}
	if n := p.Remembered(); n > most/3+1 {
		t.Errorf("one tenant takes %d of %d", n, most)
	}
	for range 8 {
		if n := shows(t, p, agent, newDelegate(), most/300, start); n < most/300 {
			t.Errorf("beside it another tenant's delegate has %d of %d", n, most)
		}
	}
}

func TestManyTenantsDoNotFillTheMemoryOfProofs(t *testing.T) {
	const most, hostile = 2000, 4
	p := identity.NewProofs(time.Minute, most)
	for i := range 3 * hostile {
		for j := range 10 {
			shows(t, p, identity.CallerOf(fmt.Sprint("evil", i%hostile), fmt.Sprint("agt_", j)), newDelegate(), most, start)
		}
	}
	if free := most - p.Remembered(); free < most*16/81 {
		t.Errorf("%d are free", free)
	}
	if n := shows(t, p, identity.CallerOf("acme", "agt_3"), newDelegate(), most, start); n < most*16/81/15 {
		t.Errorf("another has %d", n)
	}
}

// A key has its share whoever lets it sign, and callers nobody knows have none beside their key's.
func TestOneKeyHasOneShare(t *testing.T) {
	p, d := identity.NewProofs(time.Minute, 600), newDelegate()
	for i := range 8 {
		shows(t, p, identity.CallerOf(fmt.Sprint("t", i), fmt.Sprint("agt_", i)), d, 600, start)
	}
	if n := p.Remembered(); n > 600/8 {
		t.Errorf("of eight tenants it takes %d", n)
	}
	p = identity.NewProofs(time.Minute, 600)
	if n := shows(t, p, identity.Caller{}, d, 600, start); n != 200 {
		t.Errorf("got %d", n)
	}
	for range 16 {
		shows(t, p, identity.Caller{}, newDelegate(), 20, start)
	}
	if n := shows(t, p, identity.Caller{}, newDelegate(), 600, start); n < 20 {
		t.Errorf("another got %d", n)
	}
}

func TestAgentsOfTheSameNameAreApart(t *testing.T) {
	p := identity.NewProofs(time.Minute, 400)
	for _, c := range []identity.Caller{identity.CallerOf("a", "b"), identity.CallerOf("b", "a"), identity.CallerOf("", "ab"), identity.CallerOf("b", "b")} {
		if err := p.VerifyFor(c, "", nil, "POST", target, shown, start); !errors.Is(err, identity.ErrProof) {
			t.Errorf("no key asked for: got %v", err)
		}
		d := newDelegate()
		if err := p.VerifyFor(c, d.print, d.proof(nil), "POST", target, shown, start); err != nil {
			t.Error(err)
		}
	}
	if n := p.Shares(); n != 4+4+3 {
		t.Errorf("%d shares", n)
	}
}

func TestTheMemoryOfProofsEmpties(t *testing.T) {
	p, who := identity.NewProofs(time.Minute, 150), identity.CallerOf("acme", "agt_1")
	for i := range 500 {
		at := start.Add(time.Duration(i) * 61 * time.Second)
		if n := shows(t, p, who, newDelegate(), 40, at); n != 10 {
			t.Fatalf("round %d: %d passed", i, n)
		}
		if p.Remembered() != 10 || p.Shares() != 3 {
			t.Fatalf("round %d: %d proofs and %d shares are kept", i, p.Remembered(), p.Shares())
		}
	}
	for i := range 300 { // and a little at a time
		at := start.Add(50000*time.Second + time.Duration(i)*6*time.Second)
		if n := shows(t, p, who, newDelegate(), 1, at); n != 1 {
			t.Fatalf("at %s: no room", at)
		}
	}
}

// Requests are judged at the time they began, so that a later one may be judged first.
func TestAProofThatWasForgottenDoesNotPassAgain(t *testing.T) {
	p, d := identity.NewProofs(time.Minute, 1000), newDelegate()
	old := d.proof(nil)
	verify := func(proof []byte, at time.Duration) error {
		return p.VerifyKey(d.print, proof, "POST", target, shown, start.Add(at))
	}
	if err := verify(old, 0); err != nil {
		t.Fatal(err)
	}
	if err := verify(d.proof(map[string]any{"iat": start.Unix() + 61}), 61*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := p.Remembered(); n != 1 {
		t.Errorf("%d are remembered", n)
	}
	if err := verify(old, time.Minute); !errors.Is(err, identity.ErrProof) {
		t.Errorf("shown again: got %v", err)
	}
	if err := verify(d.proof(map[string]any{"iat": start.Unix() + 1}), time.Minute); err != nil {
		t.Errorf("one that is still good: got %v", err)
	}
}
