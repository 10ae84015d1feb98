// Package report makes an export's report for people: a PDF that says what was exported for whom and when, what it adds
// up to, the first records, and how to verify them.
//
// The report is a view. Its fonts are the PDF standard's own, which every reader has and none embeds, so nothing here
// needs a licence; they know the characters of Windows-1252. Any other character stands as \u{HEX}, and a backslash as \\,
// so that no two names look alike; records.jsonl beside it has every name as it is. The package is the only door to fpdf.
package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-pdf/fpdf"

	"github.com/gatewright/gatewright/merkle/ledger/export"
)

// Bounds of a report. Together with export.Rows they bound its pages.
const (
	tops    = 10  // rows of a tally
	maxCell = 120 // characters of a value; longer ones end in "..."
	margin  = 15  // millimetres
	width   = 180 // millimetres between the margins of an A4 page
)

// pageCount stands for the number of pages until it is known. No record can write it: Windows-1252 has no 0x81.
const pageCount = "\x81pages\x81"

// Write makes the report. The same About makes the same bytes.
func Write(w io.Writer, a *export.About) error {
	p := &page{Fpdf: fpdf.New("P", "mm", "A4", ""), at: a.Now.UTC()}
	p.SetCreationDate(p.at)
	p.SetModificationDate(p.at)
	p.SetCatalogSort(true)
	p.SetTitle("Audit export", false)
	p.SetCreator("Gatewright", false)
	p.SetMargins(margin, margin, margin)
	p.SetAutoPageBreak(true, margin+5)
	p.AliasNbPages(pageCount)
	p.SetFooterFunc(func() { p.footer(a) })
	p.AddPage()
	p.what(a)
	p.totals(a)
	p.rows(a)
	p.verify(a)
	if err := p.Output(w); err != nil {
		return fmt.Errorf("write PDF: %w", err)
	}
	return nil
}

// page adds the few shapes that a report is made of.
type page struct {
	*fpdf.Fpdf
	at time.Time
}

func (p *page) footer(a *export.About) {
	p.SetY(-margin)
	p.SetFont("Helvetica", "", 7)
	p.SetTextColor(110, 110, 110)
	p.CellFormat(width, 5, cell(a.Origin, maxCell)+"   "+stamp(p.at)+"   page "+strconv.Itoa(p.PageNo())+" of "+pageCount, "", 0, "C", false, 0, "")
	p.SetTextColor(0, 0, 0)
}

func (p *page) heading(s string) {
	if p.GetY() > 250 { // a heading does not stand alone at the foot of a page
		p.AddPage()
	}
	p.Ln(4)
	p.SetFont("Helvetica", "B", 12)
	p.CellFormat(width, 7, text(s), "B", 1, "L", false, 0, "")
	p.Ln(1.5)
}

func (p *page) fact(label, value string) {
	if value == "" {
		return
	}
	p.SetFont("Helvetica", "B", 9)
	p.CellFormat(38, 5, text(label), "", 0, "L", false, 0, "")
	p.SetFont("Helvetica", "", 9)
	p.MultiCell(width-38, 5, cell(value, 4*maxCell), "", "L", false)
}

func (p *page) paragraph(s string) {
	p.SetFont("Helvetica", "", 9)
	p.MultiCell(width, 4.6, text(s), "", "L", false)
	p.Ln(1)
}

func (p *page) what(a *export.About) {
	p.SetFont("Helvetica", "B", 18)
	p.CellFormat(width, 10, "Audit export", "", 1, "L", false, 0, "")
	p.SetFont("Helvetica", "", 9)
	p.CellFormat(width, 5, text("Records of one organisation's ledger at one Gatewright gateway"), "", 1, "L", false, 0, "")
	p.heading("What this is")
	p.fact("Organisation", a.Tenant)
	p.fact("Ledger", a.Origin)
	p.fact("Records", number(a.Count))
	if a.Count > 0 {
		p.fact("Indices", "from "+number(a.First)+" to "+number(a.Last))
		p.fact("Recorded", stamp(time.UnixMicro(a.Earliest))+" to "+stamp(time.UnixMicro(a.Later)))
	}
	p.fact("Exported", stamp(p.at))
	p.fact("Asked for by", strings.TrimSpace(a.By.User+" with key "+a.By.Key))
	p.fact("Request", a.By.Record)
	p.filter(&a.Filter)
	if a.Kept > 0 {
		p.fact("Retention", "records before index "+number(a.Kept)+" were no longer kept")
	}
}

func (p *page) filter(f *export.Filter) {
	if f.Everything() && f.From == 0 && f.To == 0 {
		p.fact("Filter", "none: every record up to the checkpoint")
		return
	}
	p.fact("Filter", "only records with all of the following")
	if f.From > 0 || f.To > 0 {
		to := "the checkpoint"
		if f.To > 0 {
			to = "before " + number(f.To)
		}
		p.fact("   index", "from "+number(f.From)+" to "+to)
	}
	if f.Since != nil {
		p.fact("   since", stamp(*f.Since))
	}
	if f.Until != nil {
		p.fact("   until", stamp(*f.Until)+" (not included)")
	}
	for _, m := range [...][2]string{
		{"agent", f.Agent}, {"user", f.User}, {"server", f.Server}, {"tool", f.Tool}, {"kind", f.Kind},
		{"verdict", f.Verdict}, {"code", f.Code}, {"outcome", f.Outcome}, {"subject", f.Subject},
	} {
		p.fact("   "+m[0], m[1])
	}
}

func (p *page) totals(a *export.About) {
	p.heading("What it adds up to")
	if a.Count == 0 {
		p.paragraph("No record matches.")
		return
	}
	for _, t := range [...]struct {
		name  string
		tally *export.Tally
	}{
		{"Verdict", &a.Verdicts}, {"Reason of refusals", &a.Codes}, {"Outcome", &a.Outcomes}, {"Kind of record", &a.Kinds},
		{"Agent", &a.Agents}, {"User", &a.Users}, {"Tool", &a.Tools},
	} {
		p.tally(t.name, t.tally)
	}
}

func (p *page) tally(name string, t *export.Tally) {
	top, rest := t.Top(tops)
	if len(top) == 0 {
		return
	}
	if p.GetY() > 255 {
		p.AddPage()
	}
	p.SetFont("Helvetica", "B", 9)
	p.SetFillColor(235, 238, 242)
	p.CellFormat(140, 5.5, text(name), "", 0, "L", true, 0, "")
	p.CellFormat(40, 5.5, "records", "", 1, "R", true, 0, "")
	p.SetFont("Helvetica", "", 9)
	for _, c := range top {
		p.CellFormat(140, 4.8, p.fit(c.Name, 138), "", 0, "L", false, 0, "")
		p.CellFormat(40, 4.8, number(c.N), "", 1, "R", false, 0, "")
	}
	if rest > 0 {
		p.SetFont("Helvetica", "I", 9)
		p.CellFormat(140, 4.8, "others", "", 0, "L", false, 0, "")
		p.CellFormat(40, 4.8, number(rest), "", 1, "R", false, 0, "")
	}
	p.Ln(2.5)
}

// columns of the table of records, with their widths in millimetres.
var columns = [...]struct {
	name string
	wide float64
}{{"index", 14}, {"time (UTC)", 32}, {"kind", 18}, {"verdict", 13}, {"agent", 36}, {"tool", 40}, {"reason, outcome", 27}}

func (p *page) rows(a *export.About) {
	if len(a.Rows) == 0 {
		return
	}
	p.heading("The records")
	if uint64(len(a.Rows)) < a.Count {
		p.paragraph(fmt.Sprintf("The first %d of %s. All of them are in records.jsonl beside this report.", len(a.Rows), number(a.Count)))
	}
	p.tableHead()
	for i := range a.Rows {
		if p.GetY() > 272 {
			p.AddPage()
			p.tableHead()
		}
		r := &a.Rows[i].Record
		tool := r.Op
		if r.Tool != "" {
			tool = r.Server + "/" + r.Tool
		}
		p.row([...]string{
			number(a.Rows[i].Index), time.UnixMicro(r.Time).UTC().Format("2006-01-02 15:04:05.000"), r.Label(), r.Verdict,
			r.Agent, tool, strings.TrimSpace(r.Code + " " + r.Outcome),
		})
	}
}

func (p *page) tableHead() {
	p.SetFont("Helvetica", "B", 7)
	p.SetFillColor(235, 238, 242)
	for _, c := range columns {
		p.CellFormat(c.wide, 5, c.name, "", 0, "L", true, 0, "")
	}
	p.Ln(5)
	p.SetFont("Helvetica", "", 7)
}

func (p *page) row(values [len(columns)]string) {
	for i, c := range columns {
		p.CellFormat(c.wide, 4, p.fit(values[i], c.wide-1.5), "", 0, "L", false, 0, "")
	}
	p.Ln(4)
}

// fit shortens a value to what has room in so many millimetres.
func (p *page) fit(s string, wide float64) string {
	out := cell(s, maxCell)
	if p.GetStringWidth(out) <= wide {
		return out
	}
	for len(out) > 0 && p.GetStringWidth(out+"...") > wide {
		out = out[:len(out)-1] // one byte is one character in the fonts' encoding
	}
	return out + "..."
}

func (p *page) verify(a *export.About) {
	p.heading("How to verify it")
	p.paragraph("The gateway keeps its ledger as a Merkle tree (RFC 6962) and signs the tree's root. The records in this export were " +
		"proved against this checkpoint:")
	p.fact("Origin", a.Checkpoint.Origin)
	p.fact("Size", number(a.Checkpoint.Size)+" records")
	p.fact("Root", a.Checkpoint.Root.String())
	p.fact("Signed by", strings.Join(a.Signers, ", "))
	p.Ln(1)
	p.paragraph("Keep the whole ZIP archive, and get the gateway's public key (ledger.pub) from its operator by another way than " +
		"this archive. Then, on any computer and without a network:")
	p.SetFont("Courier", "", 9)
	p.CellFormat(width, 6, "    gatewright verify --key ledger.pub EXPORT.zip", "", 1, "L", false, 0, "")
	p.paragraph("It checks the signature over the manifest and over the checkpoint, the SHA-256 of every file including this one, and " +
		"that each record in records.jsonl stands, byte for byte and at its index, in the tree that was signed.")
	p.heading("What this does and does not prove")
	p.paragraph("Proved: the records shown are those in the ledger, unchanged, and the gateway's key vouches for this export.")
	if a.Filter.Everything() {
		p.paragraph("Proved: none is missing between the first and the last index, because the verifier needs every one of them.")
	} else {
		p.paragraph("Not proved by the records alone: that no other record matches the filter. The gateway's signature says so. That " +
			"an agent did not call a tool can be proved: gatewright ledger absence.")
	}
	p.paragraph("Not proved: anything about calls that did not pass this gateway, or about other instances of it. Arguments and " +
		"replies are not in the records; the records hold commitments to them.")
	p.paragraph("Characters that this report's fonts do not have are written as \\u{HEX}, and a backslash as two; records.jsonl has " +
		"every text as it is.")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// number groups digits by three, with blanks as ISO 80000-1 has them.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
