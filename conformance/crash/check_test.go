package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// story is what a checker is fed: a ledger, what clients were told, and what the tool server saw.
type story struct {
	records  []ledger.Record
	promises []promise
	effects  []effect
	trials   []trial
	cover    []int // sizes of the checkpoints that are seen, one after the other
	fork     bool  // the last checkpoint is of another tree
	atOnce   bool  // they are seen in one judgement, in different places
}

const someTenant = "acme"

func testSigner(t testing.TB) (ledger.Signer, ledger.VerifierKeys) {
	t.Helper()
	seed := sha256.Sum256([]byte("signer"))
	s, err := ledger.NewSigner("gate.example/ledger/_instance/main", ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s, ledger.VerifierKeys{s.Public}
}

// id is a valid record id that counts.
func id(n int) string { return fmt.Sprintf("rec_%026d", n) }

var thePlan = merkle.LeafHash([]byte("plan"))

func admitted(n int, step int32, at int64) ledger.Record {
	return ledger.Record{
		Tenant: someTenant, Kind: ledger.Admitted, ID: id(n), Instance: "main", Boot: 1, Time: at,
		Plan: thePlan, PlanID: "pln_1", Step: step, Uses: 1, PlanExpires: 1 << 40,
	}
}

func settled(n, of int, outcome string) ledger.Record {
	return ledger.Record{Tenant: someTenant, Kind: ledger.Settled, ID: id(n), Of: id(of), Instance: "main", Boot: 1, Time: 9, Step: -1, Outcome: outcome}
}

func happening(step int, at int64) effect {
	return effect{spend: spend{someTenant, thePlan.String(), step}, uses: 1, n: int64(step), at: time.UnixMicro(at)}
}

// good is a story in which nothing is wrong.
func good() *story {
	return &story{
		records: []ledger.Record{
			admitted(1, 0, 1000), settled(2, 1, ledger.OutcomeOK), admitted(3, 1, 2000), settled(4, 3, ledger.OutcomeUnknown),
		},
		promises: []promise{{tenant: someTenant, record: id(2)}, {tenant: someTenant, record: id(4)}},
		effects:  []effect{happening(0, 1500), happening(1, 2500)},
		trials:   []trial{{what: "a token", held: true}},
		cover:    []int{1, 3, 4},
	}
}

// tell feeds a story to a new checker.
func (s *story) tell(t *testing.T) *checker {
	t.Helper()
	signer, keys := testSigner(t)
	c := newChecker(keys)
	var front merkle.Frontier
	notes := map[int][]byte{}
	for i := range s.records {
		r := &s.records[i]
		if err := r.Normalize(); err != nil {
			t.Fatal(err)
		}
		leaf := r.AppendJSON(nil)
		h := merkle.LeafHash(leaf)
		front.Append(h)
		cp := ledger.Checkpoint{Origin: "gate.example/ledger/acme/main", Size: front.Size(), Root: front.Root()}
		notes[i+1] = signed(t, cp, signer)
		if err := c.record(someTenant, uint64(i), h.String(), leaf); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range s.cover {
		note := notes[n]
		if s.fork && i == len(s.cover)-1 || note == nil {
			note = signed(t, ledger.Checkpoint{Origin: "gate.example/ledger/acme/main", Size: uint64(n), Root: merkle.LeafHash(nil)}, signer)
		}
		c.checkpoint(someTenant, "a test", note)
		if !s.atOnce {
			c.remember()
		}
	}
	c.settled()
	for _, p := range s.promises {
		c.kept(p)
	}
	for _, e := range s.effects {
		c.happened(e)
	}
	c.spent()
	for _, x := range s.trials {
		c.tried(x)
	}
	return c
}

// receiptOf is a good receipt of a record.
func receiptOf(t *testing.T, r ledger.Record) string {
	t.Helper()
	signer, _ := testSigner(t)
	if err := r.Normalize(); err != nil {
		t.Fatal(err)
	}
	leaf := r.AppendJSON(nil)
	rc := ledger.Receipt{Origin: signer.Public.Name, KeyHash: signer.Public.Hash, Size: 1, Leaf: leaf}
	message := ledger.AppendReceiptMessage(nil, rc.Origin, 1, merkle.LeafHash(leaf))
	copy(rc.Signature[:], ed25519.Sign(signer.Private, message))
	return string(rc.AppendText(nil))
}

// TestTheCheckerCountsWhatMustNotHappen: each wrong story is counted under its name, and no other name.
func TestTheCheckerCountsWhatMustNotHappen(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *story)
		kind  string
		text  string
	}{
		"nothing":          {func(*story) {}, "", ""},
		"a lost record":    {func(s *story) { s.promises = append(s.promises, promise{tenant: someTenant, record: id(7)}) }, lost, "is not in the ledger"},
		"another tenant's": {func(s *story) { s.promises[0].tenant = "rival" }, lost, "is not in the ledger"},
		"other bytes":      {func(s *story) { s.promises[0].receipt = receiptOf(t, settled(2, 1, ledger.OutcomeWithheld)) }, lost, "other bytes"},
		"no receipt":       {func(s *story) { s.promises[0].receipt = "R1dS" }, lost, "receipt"},
		"its own receipt":  {func(s *story) { s.promises[0].receipt = receiptOf(t, settled(2, 1, ledger.OutcomeOK)) }, "", ""},
		"a double effect": {func(s *story) {
			s.effects[1] = happening(0, 4500)
			s.records = append(s.records, admitted(5, 0, 3000), settled(6, 5, ledger.OutcomeOK))
		}, doubleSpent, "had 2 effects"},
		"admitted twice":        {func(s *story) { s.records = append(s.records, admitted(5, 0, 3000), settled(6, 5, ledger.OutcomeOK)) }, doubleSpent, "admitted 2 times"},
		"no admitted record":    {func(s *story) { s.effects = append(s.effects, happening(2, 1600)) }, unrecorded, "no admitted record before it"},
		"admitted too late":     {func(s *story) { s.effects[1].at = time.UnixMicro(1999) }, unrecorded, "no admitted record before it"},
		"an unplanned effect":   {func(s *story) { s.effects[0].n = -1 }, unrecorded, "nobody planned"},
		"an open call":          {func(s *story) { s.records = s.records[:3]; s.cover = nil; s.promises = s.promises[:1] }, unrecorded, "nothing settles it"},
		"a lost revocation":     {func(s *story) { s.trials = append(s.trials, trial{what: "a key"}) }, unrevoked, "was revoked and works"},
		"a checkpoint back":     {func(s *story) { s.cover = []int{3, 1} }, lost, "went back from 3 to 1"},
		"a place that lags":     {func(s *story) { s.cover, s.atOnce = []int{3, 1}, true }, "", ""},
		"a fork that lags":      {func(s *story) { s.cover, s.atOnce, s.fork = []int{3, 1}, true, true }, lost, "forks"},
		"a checkpoint too far":  {func(s *story) { s.cover = []int{3, 9} }, lost, "covers 9 records and 4 are there"},
		"a checkpoint's fork":   {func(s *story) { s.fork = true }, lost, "forks"},
		"a fork at an old size": {func(s *story) { s.cover, s.fork = []int{3, 3}, true }, lost, "forks"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.spoil(s)
			got := s.tell(t)
			for _, kind := range []string{lost, unrecorded, doubleSpent, unrevoked} {
				if n := got.count(kind); (n > 0) != (kind == c.kind) {
					t.Errorf("%s=%d: %v", kind, n, got.found)
				}
			}
			if c.kind != "" && !strings.Contains(fmt.Sprint(got.found), c.text) {
				t.Errorf("%v does not say %q", got.found, c.text)
			}
		})
	}
}

func TestTheCheckerRefusesALedgerWithAHole(t *testing.T) {
	_, keys := testSigner(t)
	c := newChecker(keys)
	r := admitted(1, 0, 1)
	if err := r.Normalize(); err != nil {
		t.Fatal(err)
	}
	leaf := r.AppendJSON(nil)
	if err := c.record(someTenant, 1, merkle.LeafHash(leaf).String(), leaf); err == nil || c.count(lost) != 1 {
		t.Errorf("%v %v", err, c.found)
	}
	if err := c.record(someTenant, 0, merkle.LeafHash(nil).String(), leaf); err != nil || c.count(lost) != 2 {
		t.Errorf("%v %v", err, c.found)
	}
	if err := c.record(someTenant, 1, "", []byte(`{"kind":`)); err == nil {
		t.Error("half a record was taken")
	}
}

func TestACheckpointOfAStrangerIsFound(t *testing.T) {
	signer, _ := testSigner(t)
	c := newChecker(nil)
	c.checkpoint(someTenant, "a test", signed(t, ledger.Checkpoint{Origin: "gate.example/ledger/acme/main", Size: 0, Root: merkle.EmptyRoot()}, signer))
	if c.count(lost) != 1 {
		t.Error(c.found)
	}
}

var lastLine = regexp.MustCompile(`(?m)^crash kills=(\d+) lost=(\d+) unrecorded=(\d+) double_spent=(\d+) revocations_lost=(\d+) recovery_ms_max=\d+$`)

// cutTail takes the last records out of the segment that is written, as a disk does that lies about what is durable.
func cutTail(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, "ledger", "_wal", "*.segment"))
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(all) {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if end := len(bytes.TrimRight(b, "\x00")); end > 0 {
			clear(b[max(0, end-24<<10):end])
			return os.WriteFile(name, b, 0o600)
		}
	}
	return nil
}

// forget takes away everything besides, by which the gateway itself could know that something is missing.
func forget(dir string) error {
	if err := cutTail(dir); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(dir, "ledger"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".segment") || d.Name() == "boot" {
			return err
		}
		return os.Remove(path)
	})
}

// TestALedgerThatLosesItsTailIsFound: the whole program, on a disk that forgets what was acknowledged. Either the gateway
// finds it, and does not start, or the clients do.
func TestALedgerThatLosesItsTailIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("the checker's own cases are the short form")
	}
	for name, spoil := range map[string]func(string) error{"cut": cutTail, "cut and forgotten": forget} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			killed := 0
			err := run(t.Context(), &out, options{
				gateway: os.Getenv("GATEWRIGHT_TEST_CRASH_GATEWAY"), kills: 40, seed: 5, mode: "write", segment: "1MiB",
				limit: time.Minute, every: 100, dir: t.TempDir(),
				spoil: func(dir string) error {
					if killed++; killed < 6 {
						return nil
					}
					return spoil(dir)
				},
			})
			m := lastLine.FindStringSubmatch(out.String())
			if err == nil || m == nil {
				t.Fatalf("nothing was found:\n%s", out.String())
			}
			if m[2] == "0" && !strings.Contains(err.Error(), "ready") {
				t.Errorf("%v\n%s", err, out.String())
			}
			t.Log(err, m[0])
		})
	}
}

func TestTheCommandLineIsRead(t *testing.T) {
	for _, bad := range [][]string{{"-kills", "0"}, {"-mode", "maybe"}, {"more"}, {"-verify-every", "0"}, {"-kills", "x"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	o, err := parse([]string{"-kills", "7", "-seed", "3", "-mode", "write", "-segment", "4MiB", "-time-limit", "2m"})
	if err != nil || o.kills != 7 || o.seed != 3 || o.mode != "write" || o.segment != "4MiB" || o.limit != 2*time.Minute {
		t.Errorf("%+v %v", o, err)
	}
}

func signed(t testing.TB, cp ledger.Checkpoint, s ledger.Signer) []byte {
	t.Helper()
	note, err := cp.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	return note
}
