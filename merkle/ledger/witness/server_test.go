package witness_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

func TestEverySubmissionIsAnsweredByTheProtocol(t *testing.T) {
	h := newHistory(t, 20)
	stranger := &history{t: t, leaves: h.leaves, signer: "stranger"}
	forked := h.fork(3)
	good := h.body(8, 13)
	proof := h.proof(8, 13)
	line := base64.StdEncoding.EncodeToString(proof[0][:]) + "\n"
	empty := ledger.Checkpoint{Origin: origin, Root: merkle.LeafHash(nil)}
	elsewhere := ledger.Checkpoint{Origin: "unknown.example", Size: 13, Root: h.tree(13).Root()}
	wrong := strings.Replace(string(h.note(13)), "\u2014", "\u2014", 1)
	wrong = wrong[:len(wrong)-6] + "AAAA=\n"
	k := logKeys(t, "log")[0]
	withBad := string(ledger.AppendSignature(h.note(13), k.Name, k.Hash, make([]byte, 64)))
	head := good[:strings.Index(good, "\n\n")+2]
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"goes on":                   {good, 200},
		"the same again":            {h.body(8, 8), 200},
		"a stranger signs too":      {good + string(stranger.note(13)[len(h.checkpoint(13).Body())+1:]), 200},
		"with an extension line":    {head + string(h.sign(append(h.checkpoint(13).Body(), "note: x\n"...))), 200},
		"no body":                   {"", 400},
		"no old line":               {strings.Replace(good, "old 8\n", "", 1), 400},
		"old with a leading zero":   {strings.Replace(good, "old 8", "old 08", 1), 400},
		"old with a sign":           {strings.Replace(good, "old 8", "old +8", 1), 400},
		"old beyond 63 bits":        {strings.Replace(good, "old 8", "old 9223372036854775808", 1), 400},
		"old above the size":        {strings.Replace(good, "old 8", "old 14", 1), 400},
		"a hash too short":          {strings.Replace(good, line, "AAAA\n", 1), 400},
		"a carriage return":         {strings.Replace(good, "old 8\n", "old 8\r\n", 1), 400},
		"one in a proof line":       {strings.Replace(good, line, strings.TrimSuffix(line, "\n")+"\r\n", 1), 400},
		"64 proof lines":            {"old 8\n" + strings.Repeat(line, 64) + "\n" + string(h.note(13)), 400},
		"63 proof lines":            {"old 8\n" + strings.Repeat(line, 63) + "\n" + string(h.note(13)), 422},
		"no checkpoint":             {head, 400},
		"a checkpoint cut":          {good[:len(good)-1], 400},
		"no signature":              {head + string(h.checkpoint(13).Body()) + "\n", 400},
		"an empty line in the text": {head + string(h.sign(append(h.checkpoint(13).Body(), "\nmore\n"...))), 400},
		"a size with a zero":        {head + string(h.sign([]byte(strings.Replace(string(h.checkpoint(13).Body()), "\n13\n", "\n013\n", 1)))), 400},
		"larger than the bound":     {good + strings.Repeat("x", 200<<10), 400},
		"unknown origin":            {"old 0\n\n" + string(h.sign(elsewhere.Body())), 404},
		"another key":               {head + string(stranger.note(13)), 403},
		"a wrong signature":         {head + wrong, 403},
		"a right and a wrong one":   {head + withBad, 403},
		"another log's key":         {strings.Replace(good, origin, "other.example/log", 1), 403},
		"behind":                    {h.body(5, 13), 409},
		"ahead":                     {h.body(9, 13), 409},
		"from nothing":              {h.body(0, 13), 409},
		"an older one":              {h.body(5, 5), 409},
		"no proof":                  {"old 8\n\n" + string(h.note(13)), 422},
		"one hash too many":         {strings.Replace(good, line, line+line, 1), 422},
		"another history":           {forked.body(8, 13), 422},
		"same size, another root":   {forked.body(8, 8), 422},
		"same size with a proof":    {"old 8\n" + line + "\n" + string(h.note(8)), 422},
	} {
		w := newWorld(t, nil)
		w.must(h, 0, 8)
		status, kind, answer := w.post(c.body)
		if status != c.want {
			t.Errorf("%s: %d %q, want %d", name, status, answer, c.want)
		}
		if status == http.StatusConflict && (kind != "text/x.tlog.size" || answer != "8\n") {
			t.Errorf("%s: %q %q", name, kind, answer)
		}
		if status != http.StatusOK {
			if strings.Contains(answer, "\u2014") || strings.Count(answer, "\n") != 1 {
				t.Errorf("%s: answered %q", name, answer)
			}
			w.must(h, 8, 20) // and the refusal changed nothing
		}
	}
	for name, body := range map[string]string{
		"a proof from nothing": "old 0\n" + line + "\n" + string(h.note(13)), "an empty tree with a root": "old 0\n\n" + string(h.sign(empty.Body())),
	} {
		w := newWorld(t, nil)
		if status, _, answer := w.post(body); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %q", name, status, answer)
		}
	}
}

func TestAnEmptyTreeIsCosignedToo(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 3)
	w.must(h, 0, 0)
	w.open()
	w.must(h, 0, 0)
	w.must(h, 0, 3)
}

func TestOtherMethodsAndPathsAreNotServed(t *testing.T) {
	w := newWorld(t, nil)
	c := client(t, serve(t, w), "w.example/one")
	for path, want := range map[string]int{"GET /add-checkpoint": 405, "PUT /add-checkpoint": 405, "POST /": 404, "GET /checkpoint": 404, "GET /0000/checkpoint": 404, "POST /sign-subtree": 404} {
		method, path, _ := strings.Cut(path, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s %s: %d, want %d", method, path, res.StatusCode, want)
		}
	}
}

func TestWithoutLogsEverythingIsNotFound(t *testing.T) {
	s, err := witness.NewServer(witness.Options{Dir: t.TempDir(), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, Server: s}
	if status, _, _ := w.post(newHistory(t, 3).body(0, 3)); status != http.StatusNotFound {
		t.Error("add-checkpoint:", status)
	}
	if status, _ := w.monitor(origin); status != http.StatusNotFound {
		t.Error("checkpoint:", status)
	}
}

func TestTheMonitorSeesWhatWasCosigned(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 9)
	if status, _ := w.monitor(origin); status != http.StatusNotFound {
		t.Fatal("before the first:", status)
	}
	for i, n := range []uint64{4, 9} {
		answer := w.must(h, []uint64{0, 4}[i], n)
		for range 2 { // as it runs, and from the disk
			status, note := w.monitor(origin)
			if status != http.StatusOK || !strings.HasSuffix(note, answer) || !strings.HasPrefix(note, string(h.note(n))) {
				t.Fatalf("%d\n%s", status, note)
			}
			if cp, err := ledger.OpenCheckpoint([]byte(note), logKeys(t, "log")); err != nil || cp != h.checkpoint(n) {
				t.Fatal(cp, err)
			}
			w.verify(note)
			w.open()
		}
	}
	if status, _ := w.monitor("other.example/log"); status != http.StatusNotFound {
		t.Error("of a log never seen:", status)
	}
	if s := w.Status(); len(s) != 2 || s[0].Size != 9 || !s[0].At.Equal(noon) || s[0].Err != nil || s[1].Size != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTheClockNeverRunsBack: a later tree is never said to be seen before an earlier one.
func TestTheClockNeverRunsBack(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 9)
	w.must(h, 0, 4)
	w.now = func() time.Time { return noon.Add(-time.Hour) }
	w.open()
	w.must(h, 4, 9)
	if s := w.Status(); !s[0].At.Equal(noon) {
		t.Error(s[0].At)
	}
}

// TestOfManyAtOnceOneWins: two checkpoints from the same size cannot both be the next, and the size never falls.
func TestOfManyAtOnceOneWins(t *testing.T) {
	w, h := newWorld(t, nil), newHistory(t, 40)
	w.must(h, 0, 8)
	var mu sync.Mutex
	won := map[uint64]bool{}
	var all sync.WaitGroup
	for n := uint64(9); n < 40; n++ {
		all.Go(func() {
			status, _, answer := w.post(h.body(8, n))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case status == http.StatusOK:
				won[n] = true
			case status != http.StatusConflict:
				t.Errorf("%d: %d %s", n, status, answer)
			}
		})
	}
	all.Wait()
	if len(won) != 1 || !won[w.Status()[0].Size] {
		t.Fatalf("cosigned after 8: %v, held %d", won, w.Status()[0].Size)
	}
}

// TestNoFaultOfTheDiskLosesOrInventsACheckpoint meets every operation on the disk in turn, failing and failing after it
// happened, and starts the witness anew from what lies there, as after kill -9.
func TestNoFaultOfTheDiskLosesOrInventsACheckpoint(t *testing.T) {
	h := newHistory(t, 30)
	boom := errors.New("boom")
	for _, op := range []string{"open", "write", "sync", "rename", "remove", "syncdir"} {
		for _, kind := range []disktest.Fault{{}, {Persists: true}, {Short: true}} {
			for skip := 0; ; skip++ {
				on := disktest.New()
				w := newWorld(t, on)
				w.must(h, 0, 8)
				on.Arm(&disktest.Fault{Op: op, Skip: skip, Persists: kind.Persists, Short: kind.Short, Err: boom})
				at, given := uint64(8), uint64(8)
				for _, n := range []uint64{13, 21} {
					status, _, answer := w.post(h.body(at, n))
					switch status {
					case http.StatusOK:
						w.verify(string(h.note(n)) + answer)
						at, given = n, n
					case http.StatusInternalServerError:
						if strings.Contains(answer, "\u2014") {
							t.Fatalf("%s: a cosignature in a refusal", op)
						}
					default:
						t.Fatalf("%s: %d %s", op, status, answer)
					}
				}
				hits := on.Hits()
				on.Arm(nil)
				w.open()
				s := w.Status()[0]
				if s.Err != nil || s.Size < given {
					t.Fatalf("%s, %+v, after %d: gave %d away and holds %d: %v", op, kind, skip, given, s.Size, s.Err)
				}
				w.must(h, s.Size, 30)
				if hits == 0 {
					if skip == 0 && op != "remove" {
						t.Fatalf("%s: no such operation", op)
					}
					break
				}
			}
		}
	}
}

// TestADamagedStateFileRefusesItsLog: one bit, a cut, another log's file, another witness's: none starts at nothing.
func TestADamagedStateFileRefusesItsLog(t *testing.T) {
	h := newHistory(t, 13)
	w := newWorld(t, nil)
	w.must(h, 0, 8)
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	spoiled := map[string][]byte{"empty": {}, "doubled": append(append([]byte{}, good...), good...), "newer": []byte(strings.Replace(string(good), "/v1 ", "/v2 ", 1))}
	for i := 0; i < len(good); i += 7 {
		b := append([]byte{}, good...)
		b[i] ^= 4
		spoiled[fmt.Sprint("bit in byte ", i)], spoiled[fmt.Sprint("cut at ", i)] = b, good[:i]
	}
	refused := func(name string) {
		t.Helper()
		w.told = nil
		w.open()
		if len(w.told) != 1 || !errors.Is(w.Status()[0].Err, witness.ErrState) {
			t.Errorf("%s: told %q, status %v", name, w.told, w.Status()[0].Err)
		}
		for _, old := range []uint64{0, 8} {
			if status, _, answer := w.post(h.body(old, 13)); status != http.StatusInternalServerError || strings.Contains(answer, "\u2014") {
				t.Errorf("%s: %d %q", name, status, answer)
			}
		}
		if status, _ := w.monitor(origin); status != http.StatusInternalServerError {
			t.Errorf("%s: monitor %d", name, status)
		}
	}
	for name, b := range spoiled {
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(name)
	}
	if err := os.WriteFile(files[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	mine := w.by
	w.by = both(t, "w.example/two")
	refused("another witness's keys")
	w.by = mine
	w.open()
	w.must(h, 8, 13)
}

func TestAStateFileOfAnotherLogIsRefused(t *testing.T) {
	h := newHistory(t, 13)
	w := newWorld(t, nil)
	w.must(h, 0, 8)
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	s, err := witness.NewServer(witness.Options{Dir: t.TempDir(), Logs: []witness.Log{{Origin: "x", Keys: logKeys(t, "log")}}, Cosigners: w.by, Now: clock})
	if err != nil || len(s.Status()) != 1 {
		t.Fatal(err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := &world{t: t, dir: dir, on: disk.OS{}, now: clock, by: w.by}
	other.open()
	// The second log's file gets what is known of the first.
	if err := os.WriteFile(filepath.Join(dir, hashOf("other.example/log")+".state"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	other.open()
	if s := other.Status(); s[0].Err != nil || !errors.Is(s[1].Err, witness.ErrState) {
		t.Fatalf("%+v", s)
	}
}
