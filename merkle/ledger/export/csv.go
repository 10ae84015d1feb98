package export

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// csvHead is the first row. Columns are added at the end and never change their place.
const csvHead = `"index","id","time","kind","verdict","code","detail","agent","user","key","addr","route","op","server","tool",` +
	`"plan_id","step","token","of","outcome","status","micros","policies","labels","body","leaf_hash"` + "\r\n"

// appendRow appends a record as RFC 4180 wants it. Every cell stands in quotes, so that a spreadsheet which splits at
// other characters than commas splits nothing.
func appendRow(dst []byte, index uint64, leaf merkle.Hash, r *ledger.Record) []byte {
	step := ""
	if r.Step >= 0 && !r.Plan.IsZero() {
		step = strconv.Itoa(int(r.Step))
	}
	for i, s := range [...]string{
		strconv.FormatUint(index, 10), r.ID, time.UnixMicro(r.Time).UTC().Format("2006-01-02T15:04:05.000000Z"), r.Label(),
		r.Verdict, r.Code, r.Detail, r.Agent, r.User, r.Key, r.Addr, r.Route, r.Op, r.Server, r.Tool,
		r.PlanID, step, r.Token, r.Of, r.Outcome, number(uint64(r.Status)), number(r.Micros),
		strings.Join(r.Policies, " "), strings.Join(r.Labels, " "), string(r.Body), leaf.String(),
	} {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendCell(dst, s)
	}
	return append(dst, "\r\n"...)
}

// number leaves out a zero, as the record does.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func appendCell(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if formula(s) {
		dst = append(dst, '\'')
	}
	for {
		before, after, found := strings.Cut(s, `"`)
		dst = append(dst, before...)
		if !found {
			return append(dst, '"')
		}
		dst = append(dst, `""`...)
		s = after
	}
}

// formula reports whether a spreadsheet may take a cell for something to compute: it begins with = + - or @, in full
// width too, be it behind quotes, blanks or characters that do not show, or it begins with a tab, a line end or the like.
// Such a cell gets an apostrophe in front (OWASP, CSV injection).
func formula(s string) bool {
	for i, c := range s {
		switch {
		case strings.ContainsRune("=+-@＝＋－＠﹦﹢﹣﹫−", c):
			return true
		case i == 0 && unicode.IsControl(c):
			return true
		case unicode.IsSpace(c), unicode.In(c, unicode.C, unicode.Quotation_Mark, unicode.Zs), c == '`':
		default:
			return false
		}
	}
	return false
}
