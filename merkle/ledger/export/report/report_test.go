package report_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/export/report"
)

// page texts of a PDF that fpdf made: the streams, inflated.
func pages(t *testing.T, pdf []byte) (text string, count int) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?s)stream\n(.*?)\nendstream`).FindAllSubmatch(pdf, -1) {
		r, err := zlib.NewReader(bytes.NewReader(m[1]))
		if err != nil {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	return strings.NewReplacer(`\(`, "(", `\)`, ")", `\\`, `\`).Replace(text), bytes.Count(pdf, []byte("/Type /Page\n"))
}

func about(n int, agent string) *export.About {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	a := &export.About{
		Origin: "gw.example/ledger/acme/one", Tenant: "acme", Format: export.PDF, Now: now, Count: uint64(n),
		By: export.Requester{User: "usr_7", Key: "key_8", Record: "rec_9"}, Filter: export.Filter{Agent: agent, Since: &now},
		Checkpoint: ledger.Checkpoint{Origin: "gw.example/ledger/acme/one", Size: 1234567}, Signers: []string{"gw.example/ledger/_instance/one"},
		Verdicts: export.Tally{Names: map[string]uint64{"allow": uint64(n)}},
		Agents:   export.Tally{Names: map[string]uint64{agent: uint64(n)}, Others: 17},
	}
	for i := range min(n, export.Rows) {
		a.Rows = append(a.Rows, export.Row{Index: uint64(i), Record: ledger.Record{
			Time: now.UnixMicro(), Kind: ledger.Refused, Agent: agent, Server: "shop", Tool: "buy", Verdict: "deny", Code: "policy_denied",
		}})
	}
	return a
}

func write(t *testing.T, a *export.About) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := report.Write(&out, a); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTheReportSaysWhatWhoWhenAndHowToVerify(t *testing.T) {
	pdf := write(t, about(500, "agt_1"))
	if !bytes.HasPrefix(pdf, []byte("%PDF-1.")) || !bytes.HasSuffix(bytes.TrimSpace(pdf), []byte("%%EOF")) {
		t.Fatal("no PDF")
	}
	text, n := pages(t, pdf)
	for _, want := range []string{
		"Audit export", "acme", "gw.example/ledger/acme/one", "usr_7 with key key_8", "rec_9", "2026-11-22 09:00:00 UTC", "agt_1",
		"policy_denied", "1 234 567 records", "gatewright verify --key ledger.pub", "The first 200 of 500", strings.Repeat("0", 64),
		"gw.example/ledger/_instance/one", "others", "Not proved by the records alone",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if n < 2 || n > 10 {
		t.Errorf("%d pages", n)
	}
	if !bytes.Equal(pdf, write(t, about(500, "agt_1"))) {
		t.Error("made twice, it has other bytes")
	}
}

func TestNoNameBreaksTheReportOrLooksLikeAnother(t *testing.T) {
	for name, want := range map[string]string{
		"Zoë €":                     "Zo\xeb \x80",
		"агент":                     `\u{430}\u{433}\u{435}\u{43d}\u{442}`,
		"工具":                        `\u{5de5}\u{5177}`,
		"a\u202eb":                  `a\u{202e}b`,
		"a\x00\x1b[31m\n":           `a\u{0}\u{1b}[31m\u{a}`,
		"(paren) \\ ) Tj":           `(paren) \\ ) Tj`,
		"\\u{430}":                  `\\u{430}`,
		"soft\u00adhyphen\u00a0nbs": `soft\u{ad}hyphen\u{a0}nbs`,
		"😀":                         `\u{1f600}`,
		"bad\xff":                   `bad\x{ff}`,
		"{pages} {nb}":              "{pages} {nb}",
		"\u0081pages\u0081":         `\u{81}pages\u{81}`,
		"\u0130stanbul \ufeff":      `\u{130}stanbul \u{feff}`,
	} {
		text, _ := pages(t, write(t, about(3, name)))
		if !strings.Contains(text, want) {
			t.Errorf("%q does not stand as %q", name, want)
		}
	}
}

func TestTheReportIsBoundedWhateverIsInIt(t *testing.T) {
	a := about(1_000_000, strings.Repeat("long\u4e00", 5000))
	a.Tools.Names = map[string]uint64{}
	for i := range 4096 {
		a.Tools.Names[fmt.Sprintf("%s%d", strings.Repeat("t", 300), i)] = 1
	}
	pdf := write(t, a)
	if _, n := pages(t, pdf); n > 15 {
		t.Errorf("%d pages", n)
	}
	if len(pdf) > 400<<10 {
		t.Errorf("%d bytes", len(pdf))
	}
}

func TestAReportOfNothingIsOnePageThatSaysSo(t *testing.T) {
	text, n := pages(t, write(t, about(0, "agt_1")))
	if !strings.Contains(text, "No record matches") || n > 2 {
		t.Errorf("%d pages", n)
	}
}

func TestABrokenWriterIsTold(t *testing.T) {
	if err := report.Write(broken{}, about(1, "x")); err == nil {
		t.Error("written nowhere")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
