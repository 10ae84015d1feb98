package export_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
)

// row of the table below: one thing done to an export.
type tampering struct {
	name   string
	change func(t *testing.T, w *world, parts []part) []part
}

// lines edits records.jsonl.
func onLines(edit func(w *world, lines [][]byte) [][]byte) func(*testing.T, *world, []part) []part {
	return func(t *testing.T, w *world, parts []part) []part {
		p := file(t, parts, "records.jsonl")
		p.body = bytes.Join(edit(w, bytes.SplitAfter(p.body, []byte("\n"))), nil)
		return parts
	}
}

// onText replaces the first occurrence of a text in a file.
func onText(name, old, with string) func(*testing.T, *world, []part) []part {
	return func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, name)
		if !bytes.Contains(p.body, []byte(old)) {
			t.Fatalf("%s has no %q", name, old)
		}
		p.body = bytes.Replace(p.body, []byte(old), []byte(with), 1)
		return parts
	}
}

// content is what may be done to the records and their proof. None of it verifies, not even when whoever did it holds the
// key that signs manifests.
var content = []tampering{
	{"a changed record", onText("records.jsonl", "agt_1", "agt_7")},
	{"a changed byte of no meaning", onText("records.jsonl", `"boot":1`, `"boot":2`)},
	{"a removed record", onLines(func(_ *world, l [][]byte) [][]byte { return append(l[:3:3], l[4:]...) })},
	{"the last record removed", onLines(func(_ *world, l [][]byte) [][]byte { return l[:len(l)-2] })},
	{"no records", onLines(func(_ *world, l [][]byte) [][]byte { return nil })},
	{"a record twice", onLines(func(_ *world, l [][]byte) [][]byte { return append(l[:4:4], l[3:]...) })},
	{"an added record", onLines(func(w *world, l [][]byte) [][]byte {
		e := w.entries["acme"][0] // one that the filter leaves out
		return append([][]byte{export.AppendLine(nil, 0, e.Data)}, l...)
	})},
	{"two records exchanged", onLines(func(_ *world, l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l })},
	{"two leaves exchanged under their indices", onLines(func(_ *world, l [][]byte) [][]byte {
		i, a, _ := export.ParseLine(bytes.TrimSpace(l[2]))
		j, b, _ := export.ParseLine(bytes.TrimSpace(l[3]))
		x, y := export.AppendLine(nil, i, b), export.AppendLine(nil, j, a)
		l[2], l[3] = x, y
		return l
	})},
	{"another tenant's record in place of one", onLines(func(w *world, l [][]byte) [][]byte {
		i, _, _ := export.ParseLine(bytes.TrimSpace(l[2]))
		l[2] = export.AppendLine(nil, i, w.entries["other"][i].Data)
		return l
	})},
	{"another index", onLines(func(_ *world, l [][]byte) [][]byte {
		i, a, _ := export.ParseLine(bytes.TrimSpace(l[2]))
		l[2] = export.AppendLine(nil, i+1, a)
		return l
	})},
	{"a blank in a line", onText("records.jsonl", `,"leaf":`, `, "leaf":`)},
	{"a line without an end", onLines(func(_ *world, l [][]byte) [][]byte {
		l[len(l)-2] = bytes.TrimSuffix(l[len(l)-2], []byte("\n"))
		return l
	})},
	{"a carriage return", onLines(func(_ *world, l [][]byte) [][]byte {
		l[1] = append(bytes.TrimSuffix(l[1], []byte("\n")), "\r\n"...)
		return l
	})},
	{"other runs in the proof", onText("proof", "\n1\n", "\n0-1\n")},
	{"a run split in two", onText("proof", "\n7\n", "\n7\n8\n")},
	{"a hash of the proof changed", func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, "proof")
		head, nodes, _ := bytes.Cut(p.body, []byte("\n\n"))
		l := bytes.SplitAfter(nodes, []byte("\n"))
		l[1] = append(base64.StdEncoding.AppendEncode(nil, make([]byte, 32)), '\n')
		p.body = bytes.Join([][]byte{head, []byte("\n\n"), bytes.Join(l, nil)}, nil)
		return parts
	}},
	{"a hash too many", func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, "proof")
		p.body = append(append(p.body, base64.StdEncoding.AppendEncode(nil, make([]byte, 32))...), '\n')
		return parts
	}},
	{"a hash too few", func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, "proof")
		p.body = p.body[:len(p.body)-45]
		return parts
	}},
	{"an empty proof", func(t *testing.T, _ *world, parts []part) []part { file(t, parts, "proof").body = nil; return parts }},
	{"a proof about another size", onText("proof", "\n123\n", "\n124\n")},
	{"a checkpoint of another tenant", func(t *testing.T, w *world, parts []part) []part {
		file(t, parts, "checkpoint").body, _ = w.Checkpoint("other")
		return parts
	}},
	{"an older checkpoint", func(t *testing.T, w *world, parts []part) []part {
		older := newWorld(t)
		older.fill(t, "acme", 100, nil)
		file(t, parts, "checkpoint").body, _ = older.Checkpoint("acme")
		return parts
	}},
	{"a checkpoint of another instance's key", func(t *testing.T, w *world, parts []part) []part {
		c, err := ledger.ReadCheckpoint(file(t, parts, "checkpoint").body)
		if err != nil {
			t.Fatal(err)
		}
		file(t, parts, "checkpoint").body = newKey(t, "gw.example/ledger/_instance/two", 2).note(c.Body())
		return parts
	}},
	{"an unsigned checkpoint", func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, "checkpoint")
		p.body = p.body[:bytes.Index(p.body, []byte("\n\n"))+1]
		return parts
	}},
	{"a changed table", onText("records.csv", "agt_1", "agt_2")},
	{"a row too many in the table", func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, "records.csv")
		p.body = append(p.body, p.body[bytes.LastIndex(p.body[:len(p.body)-2], []byte("\r\n"))+2:]...)
		return parts
	}},
	{"a row too few in the table", func(t *testing.T, _ *world, parts []part) []part {
		p := file(t, parts, "records.csv")
		p.body = p.body[:bytes.LastIndex(p.body[:len(p.body)-2], []byte("\r\n"))+2]
		return parts
	}},
}

// archives is what may be done to the archive and the manifest.
var archives = []tampering{
	{"a changed filter", onText("manifest.json", `"agt_1"`, `"agt_2"`)},
	{"another requester", onText("manifest.json", `"usr_1"`, `"usr_2"`)},
	{"another time", onText("manifest.json", "2026", "2025")},
	{"another tenant", onText("manifest.json", `"tenant":"acme"`, `"tenant":"other"`)},
	{"a blank in the manifest", onText("manifest.json", `{"at"`, `{ "at"`)},
	{"a member more", onText("manifest.json", `{"at"`, `{"a":1,"at"`)},
	{"a newer version", onText("manifest.json", `"v":1`, `"v":2`)},
	{"an empty manifest", func(t *testing.T, _ *world, p []part) []part { file(t, p, "manifest.json").body = nil; return p }},
	{"no signature", func(t *testing.T, _ *world, p []part) []part { return p[:len(p)-1] }},
	{"no manifest", func(t *testing.T, _ *world, p []part) []part { return append(p[:len(p)-2], p[len(p)-1]) }},
	{"a signature of another export", func(t *testing.T, w *world, p []part) []part {
		other, _ := w.export(t, w.options(export.CSV, export.Filter{Agent: "agt_2"}))
		file(t, p, "manifest.sig").body = file(t, unpack(t, other), "manifest.sig").body
		return p
	}},
	{"a signature by a stranger", func(t *testing.T, w *world, p []part) []part {
		sig := file(t, p, "manifest.sig")
		text, _, _ := bytes.Cut(sig.body, []byte("\n\n"))
		sig.body = newKey(t, w.key.name, 9).note(append(text, '\n'))
		return p
	}},
	{"the checkpoint as signature", func(t *testing.T, _ *world, p []part) []part {
		file(t, p, "manifest.sig").body = file(t, p, "checkpoint").body
		return p
	}},
	{"a file more", func(t *testing.T, _ *world, p []part) []part {
		return append([]part{{"notes.txt", []byte("believe me")}}, p...)
	}},
	{"a file less", func(t *testing.T, _ *world, p []part) []part { return append(p[:1:1], p[2:]...) }},
	{"a file twice", func(t *testing.T, _ *world, p []part) []part { return append([]part{p[0]}, p...) }},
	{"files exchanged", func(t *testing.T, _ *world, p []part) []part { p[0], p[1] = p[1], p[0]; return p }},
}

func tampered(t *testing.T) (*world, []part) {
	t.Helper()
	w := newWorld(t)
	w.fill(t, "acme", 123, nil)
	w.fill(t, "other", 123, func(_ int, r *ledger.Record) { r.Detail = "of somebody else" })
	archive, _ := w.export(t, w.options(export.CSV, export.Filter{Agent: "agt_1"}))
	if _, err := w.verify(t, pack(t, unpack(t, archive))); err != nil {
		t.Fatalf("packed anew, it does not verify: %v", err)
	}
	return w, unpack(t, archive)
}

func TestATamperedCopyIsRefused(t *testing.T) {
	for _, c := range append(append([]tampering(nil), content...), archives...) {
		w, parts := tampered(t)
		parts = c.change(t, w, parts)
		if _, err := w.verify(t, pack(t, parts)); !errors.Is(err, export.ErrExport) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestTheProofsHoldWithoutTheManifestsSignature: whoever gets a manifest signed, still gets no record past the tree.
func TestTheProofsHoldWithoutTheManifestsSignature(t *testing.T) {
	w, parts := tampered(t)
	if _, err := w.verify(t, pack(t, w.resign(t, parts, nil))); err != nil {
		t.Fatalf("signed anew without a change, it does not verify: %v", err)
	}
	for _, c := range content {
		w, parts := tampered(t)
		parts = w.resign(t, c.change(t, w, parts), nil)
		_, err := w.verify(t, pack(t, parts))
		if !errors.Is(err, export.ErrExport) {
			t.Errorf("%s, signed: %v", c.name, err)
		} else if strings.Contains(err.Error(), "binds") || strings.Contains(err.Error(), "signed the manifest") {
			t.Errorf("%s: refused for its hash alone: %v", c.name, err)
		}
	}
}

func TestAManifestThatSaysOtherwiseIsRefusedEvenSigned(t *testing.T) {
	for name, change := range map[string]func(m map[string]any){
		"another count":              func(m map[string]any) { m["count"] = 42 },
		"no records":                 func(m map[string]any) { m["count"] = 0; delete(m, "first"); delete(m, "last") },
		"another first":              func(m map[string]any) { m["first"] = 2 },
		"another last":               func(m map[string]any) { m["last"] = 122 },
		"another filter":             func(m map[string]any) { m["filter"] = map[string]any{"agent": "agt_2"} },
		"a narrower range":           func(m map[string]any) { m["filter"] = map[string]any{"agent": "agt_1", "from": 5} },
		"a range that ends earlier":  func(m map[string]any) { m["filter"] = map[string]any{"agent": "agt_1", "to": 50} },
		"another size":               func(m map[string]any) { m["checkpoint"].(map[string]any)["size"] = 122 },
		"another root":               func(m map[string]any) { m["checkpoint"].(map[string]any)["root"] = strings.Repeat("0", 64) },
		"another tenant":             func(m map[string]any) { m["tenant"], m["origin"] = "other", "gw.example/ledger/other/one" },
		"a tenant beside its origin": func(m map[string]any) { m["tenant"] = "other" },
		"another instance":           func(m map[string]any) { m["instance"], m["origin"] = "two", "gw.example/ledger/acme/two" },
		"no host":                    func(m map[string]any) { m["origin"] = "/ledger/acme/one" },
		"another format":             func(m map[string]any) { m["format"] = "jsonl" },
		"an unknown format":          func(m map[string]any) { m["format"] = "xml" },
		"a format with other files":  func(m map[string]any) { m["format"] = "pdf" },
	} {
		w, parts := tampered(t)
		if _, err := w.verify(t, pack(t, w.resign(t, parts, change))); !errors.Is(err, export.ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnExportIsRefusedUnderOtherKeys(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 20, nil)
	archive, _ := w.export(t, w.options(export.JSONL, export.Filter{}))
	for name, keys := range map[string]ledger.VerifierKeys{
		"no key":                  nil,
		"a stranger's key":        {newKey(t, w.key.name, 2).public},
		"its key as of another":   {newKey(t, "gw.example/ledger/_instance/two", 1).public},
		"its key without a named": {{Name: w.key.name, Hash: w.key.public.Hash}},
	} {
		if _, err := export.Verify(t.Context(), bytes.NewReader(archive), int64(len(archive)), keys); !errors.Is(err, export.ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for cut := 1; cut < len(archive); cut += 97 {
		if _, err := w.verify(t, archive[:cut]); !errors.Is(err, export.ErrExport) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestNoByteOfAnExportMayChange(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 12, nil)
	archive, _ := w.export(t, w.options(export.CSV, export.Filter{}))
	want, err := w.verify(t, archive)
	if err != nil {
		t.Fatal(err)
	}
	for i := range archive {
		changed := bytes.Clone(archive)
		changed[i] ^= 0x20
		// Fields of the container (times, versions, checksums that nobody reads) are not what is proved; whatever still
		// verifies says exactly the same.
		if got, err := w.verify(t, changed); err == nil && !bytes.Equal(canonical(t, got), canonical(t, want)) {
			t.Fatalf("byte %d changed: it verifies and says %v", i, got)
		}
	}
}

func TestCellsThatASpreadsheetWouldComputeAreTexts(t *testing.T) {
	dangerous := []string{
		"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  \u00a0=1", `"=1"`, `""=1`, "'=1", "\"\t '=1", "＝1", "＋1", "－1", "＠x",
		"\ufeff=1", "\u200b=1", "\x00=1", "\x00", "\tx", "\rx", "`=1", "“=1", "\u2212 1", "«=1",
	}
	w := newWorld(t)
	w.fill(t, "acme", len(dangerous)+2, func(i int, r *ledger.Record) {
		switch {
		case i < len(dangerous):
			r.Detail = dangerous[i]
		case i == len(dangerous):
			r.Detail = "harmless = 1, \"quoted\"\r\nand more; x"
		default:
			r.Detail = "ünï ☃ 1+1=2"
		}
	})
	archive, _ := w.export(t, w.options(export.CSV, export.Filter{}))
	if _, err := w.verify(t, archive); err != nil {
		t.Fatal(err)
	}
	table := file(t, unpack(t, archive), "records.csv").body
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	detail := -1
	for i, name := range rows[0] {
		if name == "detail" {
			detail = i
		}
	}
	for i, want := range dangerous {
		// encoding/csv reads \r\n inside quotes as \n.
		if got := rows[i+1][detail]; got != "'"+strings.ReplaceAll(want, "\r\n", "\n") {
			t.Errorf("%q became %q", want, got)
		}
	}
	if got := rows[len(dangerous)+1][detail]; got != "harmless = 1, \"quoted\"\nand more; x" {
		t.Errorf("a harmless cell became %q", got)
	}
	if got := rows[len(dangerous)+2][detail]; got != "ünï ☃ 1+1=2" {
		t.Errorf("a harmless cell became %q", got)
	}
	for row := range bytes.SplitSeq(bytes.TrimSuffix(table, []byte("\r\n")), []byte("\"\r\n\"")) {
		if bytes.Contains(row, []byte(",,")) {
			t.Errorf("a cell without quotes in %q", row)
		}
	}
}

// TestAnInstanceThatLiesIsNotBelieved: what a holder of the right key could still get wrong on purpose.
func TestAnInstanceThatLiesIsNotBelieved(t *testing.T) {
	relabel := func(m map[string]any) { m["tenant"], m["origin"] = "acme", "gw.example/ledger/acme/one" }
	for name, lie := range map[string]func(t *testing.T, w *world, parts []part) []part{
		"a file twice": func(t *testing.T, w *world, parts []part) []part {
			return w.resign(t, append([]part{parts[0]}, parts...), nil)
		},
		"a checkpoint of the same tree under another name": func(t *testing.T, w *world, parts []part) []part {
			tree := w.trees["acme"]
			file(t, parts, "checkpoint").body = w.key.note(ledger.Checkpoint{Origin: "gw.example/ledger/other/one", Size: tree.Size(), Root: tree.Root()}.Body())
			return w.resign(t, parts, nil)
		},
		"a run in two pieces": func(t *testing.T, w *world, _ []part) []part {
			archive, _ := w.export(t, w.options(export.JSONL, export.Filter{}))
			parts := unpack(t, archive)
			onText("proof", "\n0-122\n", "\n0-4\n5-122\n")(t, w, parts)
			return w.resign(t, parts, nil)
		},
		"another tenant's export under our name": func(t *testing.T, w *world, _ []part) []part {
			o := w.options(export.CSV, export.Filter{})
			o.Tenant = "other"
			archive, _ := w.export(t, o)
			parts := unpack(t, archive)
			tree := w.trees["other"]
			file(t, parts, "checkpoint").body = w.key.note(ledger.Checkpoint{Origin: "gw.example/ledger/acme/one", Size: tree.Size(), Root: tree.Root()}.Body())
			return w.resign(t, parts, relabel)
		},
	} {
		w, parts := tampered(t)
		if _, err := w.verify(t, pack(t, lie(t, w, parts))); !errors.Is(err, export.ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPinnedKeyOfOneInstanceVouchesForNoOther(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 20, nil)
	one, two := w.key, newKey(t, "gw.example/ledger/_instance/two", 2)
	w.key = two // signs the checkpoint and the manifest of instance one
	archive, _ := w.export(t, w.options(export.JSONL, export.Filter{}))
	if _, err := export.Verify(t.Context(), bytes.NewReader(archive), int64(len(archive)), ledger.VerifierKeys{one.public, two.public}); !errors.Is(err, export.ErrExport) {
		t.Errorf("instance two speaks for instance one: %v", err)
	}
}

// open opens everything, as long as it is asked about records that hold what was sealed.
type open struct{}

const wish, salt = `{"item":"a \"wish\"\n☃"}`, "0123456789abcdef"

func question(i int) string {
	return `{"agent":"agt_` + string(rune('a'+i)) + `","salt":"` + base64.RawURLEncoding.EncodeToString([]byte(salt)) + `"}`
}

func (open) Open(_ context.Context, r *ledger.Record) (export.Opened, error) {
	if r.Detail == "erased" {
		return export.Opened{State: "erased"}, nil
	}
	return export.Opened{Args: []byte(wish), Ask: []byte(question(int(r.Side[0])))}, nil
}

// sealedWorld has something beside every record but the first.
func sealedWorld(t *testing.T) (*world, []part) {
	t.Helper()
	w := newWorld(t)
	w.fill(t, "acme", 10, func(i int, r *ledger.Record) {
		if i == 0 {
			return
		}
		r.Side, r.Ask = []byte{byte(i)}, sha256.Sum256([]byte(question(i)))
		r.Request = sha256.Sum256([]byte(salt + wish))
		if i == 4 {
			r.Detail = "erased"
		}
	})
	o := w.options(export.JSONL, export.Filter{Subject: "usr_1"})
	o.Opener = open{}
	archive, _ := w.export(t, o)
	rep, err := w.verify(t, archive)
	if err != nil || rep.Opened != 8 || rep.Records != 10 {
		t.Fatalf("%+v, %v", rep, err)
	}
	return w, unpack(t, archive)
}

func TestWhatIsShownAsOpenedIsWhatTheRecordsCommitTo(t *testing.T) {
	text := func(old, with string) func(*testing.T, []part) {
		return func(t *testing.T, parts []part) { onText("opened.jsonl", old, with)(t, nil, parts) }
	}
	lines := func(edit func(l [][]byte) [][]byte) func(*testing.T, []part) {
		return func(t *testing.T, parts []part) {
			p := file(t, parts, "opened.jsonl")
			p.body = bytes.Join(edit(bytes.SplitAfter(p.body, []byte("\n"))), nil)
		}
	}
	for name, change := range map[string]func(*testing.T, []part){
		"other arguments":        text("wish", "with"),
		"another question":       text("agt_b", "agt_c"),
		"another salt":           text(base64.RawURLEncoding.EncodeToString([]byte(salt)), base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdeg"))),
		"another record's id":    text("rec_", "rex_"),
		"another record's place": text(`"index":1,`, `"index":2,`),
		"a state beside it":      text(`"arguments"`, `"state":"erased","arguments"`),
		"a member more":          text(`"arguments"`, `"more":1,"arguments"`),
		"lines exchanged":        lines(func(l [][]byte) [][]byte { l[0], l[1] = l[1], l[0]; return l }),
		"a line twice":           lines(func(l [][]byte) [][]byte { return append(l[:1:1], l...) }),
		"a line about nothing": lines(func(l [][]byte) [][]byte {
			return append(l[:len(l)-1:len(l)-1], []byte(`{"index":99,"id":"x","state":"erased"}`+"\n"))
		}),
		"no end": lines(func(l [][]byte) [][]byte { return append(l[:len(l)-1:len(l)-1], []byte("{")) }),
	} {
		w, parts := sealedWorld(t)
		change(t, parts)
		if _, err := w.verify(t, pack(t, w.resign(t, parts, nil))); !errors.Is(err, export.ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatDoesNotFitItsRecordIsNotShownAsOpened(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 3, func(i int, r *ledger.Record) { r.Side = []byte{byte(i)} })
	o := w.options(export.JSONL, export.Filter{})
	o.Opener = open{}
	e, err := export.Prepare(t.Context(), w, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Write(t.Context(), io.Discard); !errors.Is(err, export.ErrExport) {
		t.Errorf("written: %v", err)
	}
}
