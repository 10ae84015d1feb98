package conformance_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The referees are programs of others (Tessera, the Go checksum database, transparency-dev): see conformance/referees.
// They judge what the gateway wrote, and share none of its code.

// verdictWait is what a referee is given. One that takes longer hangs, as fsck does on some logs that it refuses.
const verdictWait = 60 * time.Second

var refereesMade struct {
	sync.Once
	bin string
	err error
}

// referees builds the program. Its module is its own, so that the gateway's does not grow by what only judges it.
func referees(t testing.TB) string {
	t.Helper()
	build(t)
	refereesMade.Do(func() {
		top, err := moduleRoot()
		if err != nil {
			refereesMade.err = err
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		refereesMade.bin = filepath.Join(made.dir, "referees")
		cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-o", refereesMade.bin, ".")
		cmd.Dir = filepath.Join(top, "conformance", "referees")
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if b, err := cmd.CombinedOutput(); err != nil {
			refereesMade.err = fmt.Errorf("build the referees: %w\n%s", err, b)
		}
	})
	if refereesMade.err != nil {
		t.Log(refereesMade.err)
		missing(t, "what conformance/referees is built from")
	}
	return refereesMade.bin
}

// judged is a referee's verdict.
type judged struct {
	ok  bool
	out string // what it printed
	err string // why it refused
}

// verdictOf asks a referee. A usage error is the test's own.
func verdictOf(t testing.TB, stdin []byte, env []string, args ...string) judged {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), verdictWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, referees(t), args...)
	cmd.Stdin, cmd.Env = bytes.NewReader(stdin), append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() == 2 {
		t.Fatalf("referees %q: %v\n%s", args, err, errOut.String())
	}
	return judged{err == nil, out.String(), errOut.String()}
}

// accepted demands that the referee takes a log, a note or a proof.
func accepted(t testing.TB, stdin []byte, env []string, args ...string) string {
	t.Helper()
	v := verdictOf(t, stdin, env, args...)
	if !v.ok {
		t.Fatalf("referees %q refused:\n%s", args, v.err)
	}
	return v.out
}

// tampered is a log of which a copy is changed in one way at a time.
type tampered struct {
	dir, origin, vkey string
	resign            note.Signer // signs as the log does
	other             string      // the folder of another log of the same signer; empty: none
}

// changes lists the ways. Each is given a fresh copy to spoil.
func (l *tampered) changes(t *testing.T) map[string]func(dir string) {
	files := logFiles(t, l.dir)
	pick := func(prefix string) []string {
		var out []string
		for _, f := range files {
			if strings.HasPrefix(f, prefix) {
				out = append(out, f)
			}
		}
		if len(out) == 0 {
			t.Fatalf("no file of %s below %s", prefix, l.dir)
		}
		return out
	}
	flip := func(name string, at func(size int) int) func(string) {
		return func(dir string) {
			edit(t, filepath.Join(dir, name), func(b []byte) []byte { b[at(len(b))] ^= 1; return b })
		}
	}
	first, middle, last := func(int) int { return 0 }, func(n int) int { return n / 2 }, func(n int) int { return n - 1 }
	bundles, tiles := pick("tile/entries/"), pick("tile/0/")
	newest := bundles[len(bundles)-1]
	all := map[string]func(string){
		"an entry's first byte": flip(bundles[0], func(int) int { return 2 }),
		"an entry's bit":        flip(bundles[0], middle),
		"the last entry's bit":  flip(newest, last),
		"an entry's length":     flip(bundles[0], first),
		"a tile's bit":          flip(tiles[0], middle),
		"the last tile's bit":   flip(tiles[len(tiles)-1], last),
		"a bundle is missing":   func(dir string) { must(t, os.Remove(filepath.Join(dir, newest))) },
		"a tile is missing":     func(dir string) { must(t, os.Remove(filepath.Join(dir, tiles[0]))) },
		"a bundle is cut":       func(dir string) { edit(t, filepath.Join(dir, newest), func(b []byte) []byte { return b[:len(b)-1] }) },
		"the checkpoint's bit":  flip("checkpoint", middle),
		"the checkpoint's size": func(dir string) { l.editCheckpoint(t, dir, -1, 0, false) },
		"one leaf less, signed": func(dir string) { l.editCheckpoint(t, dir, -1, 0, true) },
		"one leaf more, signed": func(dir string) { l.editCheckpoint(t, dir, 1, 0, true) },
		"another root, signed":  func(dir string) { l.editCheckpoint(t, dir, 0, 1, true) },
		"no checkpoint":         func(dir string) { must(t, os.Remove(filepath.Join(dir, "checkpoint"))) },
		"two entries change": func(dir string) {
			edit(t, filepath.Join(dir, bundles[0]), func(b []byte) []byte { return swapEntries(t, b) })
		},
	}
	if slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, "tile/1/") }) {
		all["an upper tile's bit"] = flip(pick("tile/1/")[0], middle)
	}
	if l.other != "" {
		all["another tenant's bundles"] = func(dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "tile")))
			copyLog(t, filepath.Join(l.other, "tile"), filepath.Join(dir, "tile"))
		}
		all["another tenant's checkpoint"] = func(dir string) {
			b, err := os.ReadFile(filepath.Join(l.other, "checkpoint"))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "checkpoint"), b, 0o600))
		}
		all["another tenant's whole log"] = func(dir string) {
			must(t, os.RemoveAll(dir))
			copyLog(t, l.other, dir)
		}
	}
	return all
}

// refusedInEveryWay demands that the referee takes the log, and no changed copy.
func (l *tampered) refusedInEveryWay(t *testing.T) {
	t.Helper()
	accepted(t, nil, nil, "fsck", l.dir, l.origin, l.vkey)
	for name, change := range l.changes(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			copyLog(t, l.dir, dir)
			change(dir)
			if v := verdictOf(t, nil, nil, "fsck", dir, l.origin, l.vkey); v.ok {
				t.Fatalf("accepted: %s", v.out)
			}
		})
	}
}

// editCheckpoint changes size or root, and signs anew as whoever holds the log's key could.
func (l *tampered) editCheckpoint(t *testing.T, dir string, size, root int, sign bool) {
	t.Helper()
	edit(t, filepath.Join(dir, "checkpoint"), func(b []byte) []byte {
		text, sigs, _ := strings.Cut(string(b), "\n\n")
		lines := strings.Split(text, "\n")
		var n int
		_, err := fmt.Sscan(lines[1], &n)
		must(t, err)
		lines[1] = fmt.Sprint(n + size)
		if root != 0 {
			lines[2] = "AAAA" + lines[2][4:]
		}
		text = strings.Join(lines, "\n") + "\n"
		if !sign {
			return []byte(text + "\n" + sigs)
		}
		out, err := note.Sign(&note.Note{Text: text}, l.resign)
		must(t, err)
		return out
	})
}

// swapEntries changes the places of the first two entries of a bundle.
func swapEntries(t *testing.T, b []byte) []byte {
	t.Helper()
	n := 2 + int(binary.BigEndian.Uint16(b))
	m := n + 2 + int(binary.BigEndian.Uint16(b[n:]))
	out := slices.Concat(b[n:m], b[:n], b[m:])
	if bytes.Equal(out, b) {
		t.Fatal("the first two entries are the same")
	}
	return out
}

func edit(t testing.TB, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, change(b), 0o600))
}

// logFiles lists a log's files, sorted.
func logFiles(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	}))
	slices.Sort(out)
	return out
}

// copyLog copies a log as a mirror does: the checkpoint first, since what it covers lies there already.
func copyLog(t testing.TB, from, to string) {
	t.Helper()
	files := logFiles(t, from)
	slices.SortFunc(files, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(from, f))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a partial tile that grew meanwhile
		}
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(to, f)), 0o700))
		must(t, os.WriteFile(filepath.Join(to, f), b, 0o600))
	}
}

// TestTheRefereesRefuse proves the referees themselves, on a log that the gateway had no part in.
func TestTheRefereesRefuse(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	l := &tampered{dir: filepath.Join(base, "log"), origin: "hand.example/log"}
	l.vkey = strings.TrimSpace(accepted(t, nil, nil, "hand", l.dir, l.origin, "700"))
	l.resign = signerOf(t, l.dir+".key")
	l.refusedInEveryWay(t)
	cp, err := os.ReadFile(filepath.Join(l.dir, "checkpoint"))
	must(t, err)
	accepted(t, cp, nil, "note", l.vkey)
	cp[len(cp)/2] ^= 1
	if v := verdictOf(t, cp, nil, "note", l.vkey); v.ok {
		t.Error("a changed note is accepted")
	}
}

// signerOf reads the private key that the referees keep beside a log.
func signerOf(t testing.TB, file string) note.Signer {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	s, err := note.NewSigner(strings.Fields(string(b))[0])
	must(t, err)
	return s
}

// instanceKey is the key that the gateway's checkpoints are verified with.
func (g *Gateway) instanceKey(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.Dir, "keys", "ledger.pub"))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	t.Fatal("no key in ledger.pub")
	return ""
}

// TestTheRefereesAcceptTheLedgerAndNothingElse lets them read the ledger of a gateway while it works and when it stands,
// and then copies of it that were changed.
func TestTheRefereesAcceptTheLedgerAndNothingElse(t *testing.T) {
	t.Parallel()
	referees(t)
	g := twoTenants(t).Gateway
	vkey := g.instanceKey(t)
	demo := tampered{dir: filepath.Join(g.Dir, "ledger", "demo"), origin: "gatewright.local/ledger/demo/main", vkey: vkey}
	over := tampered{dir: filepath.Join(g.Dir, "ledger", "_checkpoints"), origin: "gatewright.local/ledger/_checkpoints/main", vkey: vkey}
	stop := g.traffic(t, 300)
	for range 3 { // while it grows
		waitFor(t, "a checkpoint", func() bool { _, err := os.Stat(filepath.Join(demo.dir, "checkpoint")); return err == nil })
		for _, l := range []tampered{demo, over} {
			dir := filepath.Join(t.TempDir(), "log")
			copyLog(t, l.dir, dir)
			accepted(t, nil, nil, "fsck", dir, l.origin, l.vkey)
		}
	}
	waitFor(t, "a checkpoint over a whole tile", func() bool {
		b, err := os.ReadFile(filepath.Join(demo.dir, "checkpoint"))
		if err != nil {
			return false
		}
		size, err := strconv.Atoi(strings.Split(string(b), "\n")[1])
		return err == nil && size >= 256
	})
	g.overHTTP(t, demo)
	stop()
	if code := g.Stop(t); code != 0 {
		t.Fatal("exit", code)
	}
	seed := g.seed(t, "ledger")
	name, _, _ := strings.Cut(vkey, "+")
	sum := strings.Split(vkey, "+")[1]
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + sum + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)))
	must(t, err)
	demo.resign, over.resign = signer, signer
	demo.other, over.other = filepath.Join(g.Dir, "ledger", "other"), demo.dir
	accepted(t, nil, nil, "fsck", demo.other, "gatewright.local/ledger/other/main", vkey)
	t.Run("demo", demo.refusedInEveryWay)
	t.Run("checkpoints", over.refusedInEveryWay)
	for _, l := range []tampered{demo, over} {
		cp, err := os.ReadFile(filepath.Join(l.dir, "checkpoint"))
		must(t, err)
		if out := accepted(t, cp, nil, "note", vkey); !strings.Contains(out, l.origin+"\n") {
			t.Errorf("the note reads %q", out)
		}
	}
}

// traffic has agents call while the test looks on, at least until stop is called.
func (g *Gateway) traffic(t testing.TB, steps int) (stop func()) {
	t.Helper()
	var draft []string
	for i := range steps {
		draft = append(draft, step("demo", "calculate", expression(i)))
	}
	var wg sync.WaitGroup
	for range 2 {
		who := g.newAgent(t)
		_, tok := who.planned(t, draft[:min(steps, 200)]...)
		wg.Go(func() { load(who, tok.Token, min(steps, 200), func(acknowledged) {}) })
	}
	return wg.Wait
}

// overHTTP lets the referees read a tenant's log where it is served, on the control port: with a management key of that
// tenant, and with no other. On the data port an agent's key opens no entry.
func (g *Gateway) overHTTP(t *testing.T, l tampered) {
	t.Helper()
	path := strings.TrimPrefix(l.origin, "gatewright.local")
	at, admin := g.Control+path, g.Env["GATEWRIGHT_ADMIN_KEY"]
	accepted(t, nil, []string{"REFEREES_KEY=" + admin}, "fsck", at, l.origin, l.vkey)
	for _, env := range [][]string{nil, {"REFEREES_KEY=" + g.Key()}} {
		if v := verdictOf(t, nil, env, "fsck", at, l.origin, l.vkey); v.ok {
			t.Error("read without a management key")
		}
	}
	if status, _ := fetch(t, strings.Replace(at, "/demo/", "/_instance/", 1)+"/checkpoint", admin); status != http.StatusNotFound {
		t.Error("another tenant's log is served:", status)
	}
	for file, want := range map[string]int{"/checkpoint": http.StatusOK, "/tile/0/000": http.StatusOK, "/tile/entries/000": http.StatusNotFound} {
		if status, _ := fetch(t, g.URL+path+file, g.Key()); status != want {
			t.Errorf("%s with an agent's key: %d", file, status)
		}
	}
}

// fetch gets a URL with a bearer key.
func fetch(t testing.TB, url, key string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	must(t, err)
	return res.StatusCode, string(b)
}

// seed reads a key file of the data folder.
func (g *Gateway) seed(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.Dir, "keys", name))
	must(t, err)
	f := strings.Fields(string(b))
	if len(f) != 3 || f[1] != "raw" {
		t.Fatalf("keys/%s is of another form", name)
	}
	raw, err := base64.StdEncoding.DecodeString(f[2])
	must(t, err)
	return raw
}

// originHash is a log's name at a witness's monitoring prefix.
func originHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}
