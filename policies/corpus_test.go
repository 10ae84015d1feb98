package policies

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	exptypes "github.com/cedar-policy/cedar-go/x/exp/types"
)

// corpusCase is one case of the corpus that Cedar's own Rust engine is fuzzed with, with that engine's answers.
type corpusCase struct {
	Schema, Policies, Entities string
	Requests                   []corpusRequest
}

type corpusRequest struct {
	Description                 string
	Principal, Action, Resource types.EntityUID
	Context                     types.Record
	Decision                    cedar.Decision
	Reason, Errors              []string
}

func corpusCaseOf(files map[string][]byte, name string) (*corpusCase, error) {
	var c corpusCase
	err := json.Unmarshal(files[name], &c)
	return &c, err
}

// request is the question as Cedar takes it.
func (r *corpusRequest) request() cedar.Request {
	return cedar.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context}
}

// What the corpus holds. Another number says that cedar-go brings another one: look at it, and change these.
const (
	corpusCases    = 7_750
	corpusRequests = 62_000
)

// corpus reads the archive that stands in cedar-go's module.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatalf("find cedar-go: %v", err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	archive := tar.NewReader(z)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// corpusTally counts what was met, so that a corpus in which nothing happens is noticed.
type corpusTally struct {
	cases, requests, allowed, reasons, errors, closed, candidates, policies atomic.Int64
}

// Every decision, reason and error of Cedar's own corpus comes out of the indexed path as the Rust engine gave it; and what
// the engine answers differs by its one rule only, that a forbid which fails refuses.
func TestTheCorpusOfCedarThroughTheIndex(t *testing.T) {
	files := corpus(t)
	names := corpusNames(t, files)
	var n corpusTally
	eachCase(t, names, func(i int) error {
		c, err := corpusCaseOf(files, names[i])
		if err != nil {
			return err
		}
		return judgeCorpus(files, c, files[c.Policies], &n, func(_ *world, r *corpusRequest) answered {
			return answered{allowed: bool(r.Decision), reasons: corpusNumbers(r.Reason), errors: corpusNumbers(r.Errors)}
		})
	})
	t.Logf("%d cases, %d requests: %d allowed, %d reasons, %d errors, %d in which a forbid failed; %d candidates of %d policies",
		n.cases.Load(), n.requests.Load(), n.allowed.Load(), n.reasons.Load(), n.errors.Load(), n.closed.Load(), n.candidates.Load(), n.policies.Load())
	if !testing.Short() && n.requests.Load() != corpusRequests {
		t.Errorf("%d requests, want %d", n.requests.Load(), corpusRequests)
	}
	if n.errors.Load() == 0 || n.allowed.Load() == 0 || n.closed.Load() == 0 || n.candidates.Load() >= n.policies.Load() {
		t.Error("a corpus in which nothing fails, nothing is allowed or nothing is left out tries nothing")
	}
}

// corpusNames lists the cases.
func corpusNames(t testing.TB, files map[string][]byte) []string {
	t.Helper()
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) != corpusCases {
		t.Fatalf("%d cases, want %d", len(names), corpusCases)
	}
	return names
}

// eachCase tries every case, or one in fifty under -short.
func eachCase(t *testing.T, names []string, try func(i int) error) {
	t.Helper()
	someCases(t, names, 1, try)
}

// someCases tries every case in CI, one in so many outside it, and one in fifty under -short, on all processors.
func someCases(t *testing.T, names []string, step int, try func(i int) error) {
	t.Helper()
	if testing.Short() {
		step = 50
	} else if os.Getenv("CI") == "true" {
		step = 1
	}
	work := make(chan int)
	var done sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for i := range work {
				if err := try(i); err != nil {
					t.Errorf("%s: %v", names[i], err)
				}
			}
		})
	}
	for i := 0; i < len(names); i += step {
		work <- i
	}
	close(work)
	done.Wait()
}

// judgeCorpus asks the requests of one case. want says what Cedar has to answer.
func judgeCorpus(files map[string][]byte, c *corpusCase, text []byte, n *corpusTally, want func(*world, *corpusRequest) answered) error {
	entities, err := corpusEntities(files[c.Schema], files[c.Entities])
	if err != nil {
		return err
	}
	w, err := newWorld(string(text), entities)
	if err != nil {
		return err
	}
	n.cases.Add(1)
	for i := range c.Requests {
		r := &c.Requests[i]
		right := want(w, r)
		plain, engine, candidates := w.ask(r.request())
		if closed := w.closed(right); !plain.equal(right) || !engine.equal(closed) {
			return fmt.Errorf("%s: %+v and %+v, want %+v and %+v", r.Description, plain, engine, right, closed)
		}
		n.count(plain, engine)
		n.candidates.Add(int64(candidates))
		n.policies.Add(int64(len(w.engine.rules)))
	}
	return nil
}

func (n *corpusTally) count(plain, engine answered) {
	n.requests.Add(1)
	n.reasons.Add(int64(len(plain.reasons)))
	n.errors.Add(int64(len(plain.errors)))
	if plain.allowed {
		n.allowed.Add(1)
	}
	if !plain.equal(engine) {
		n.closed.Add(1)
	}
}

// corpusEntities reads entities as their schema types them.
func corpusEntities(text, entities []byte) (types.EntityMap, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar(bytes.Clone(text)); err != nil {
		return nil, err
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, err
	}
	var m exptypes.EntityMap
	err = m.UnmarshalJSONWithSchema(entities, resolved)
	return types.EntityMap(m), err
}

// corpusNumbers takes policy0, policy1 and so on.
func corpusNumbers(ids []string) (out []int) {
	for _, id := range ids {
		n, err := strconv.Atoi(strings.TrimPrefix(id, "policy"))
		if err != nil {
			n = -2 // equals nothing
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Cases of the corpus have one policy each. Here each is asked among the policies of the eleven that follow it, so that the
// index has something to leave out, over its own entities; the answers are held against plain cedar-go.
func TestManyPoliciesOfTheCorpusTogether(t *testing.T) {
	files := corpus(t)
	names := corpusNames(t, files)
	var n corpusTally
	someCases(t, names, 10, func(i int) error {
		var text []byte
		for k := range 12 {
			c, err := corpusCaseOf(files, names[(i+k)%len(names)])
			if err != nil {
				return err
			}
			text = append(append(text, files[c.Policies]...), '\n')
		}
		c, err := corpusCaseOf(files, names[i])
		if err != nil {
			return err
		}
		return judgeCorpus(files, c, text, &n, func(w *world, r *corpusRequest) answered { return w.scan(r.request()) })
	})
	t.Logf("%d requests: %d allowed, %d reasons, %d errors, %d in which a forbid failed; %d candidates of %d policies",
		n.requests.Load(), n.allowed.Load(), n.reasons.Load(), n.errors.Load(), n.closed.Load(), n.candidates.Load(), n.policies.Load())
	if n.candidates.Load() >= n.policies.Load() || n.closed.Load() == 0 || n.reasons.Load() < n.requests.Load() {
		t.Error("nothing is left out, nothing fails or nothing applies")
	}
}
