package export

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// A line of records.jsonl is {"index":N,"leaf":RECORD} and a line feed, without a blank, where RECORD is the leaf byte
// for byte; {"index":N,"leaf_base64":"..."} for a leaf that cannot stand in a line of JSON. A record has one spelling.
const (
	lineIndex  = `{"index":`
	lineLeaf   = `,"leaf":`
	lineBase64 = `,"leaf_base64":"`
	// MaxLine bounds a line in bytes: the largest leaf in base64 and room for the rest.
	MaxLine = 4*(ledger.MaxLeaf+2)/3 + 64
)

// AppendLine appends a record's line.
func AppendLine(dst []byte, index uint64, leaf []byte) []byte {
	dst = strconv.AppendUint(append(dst, lineIndex...), index, 10)
	if plain(leaf) {
		dst = append(append(dst, lineLeaf...), leaf...)
		return append(dst, "}\n"...)
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, lineBase64...), leaf)
	return append(dst, "\"}\n"...)
}

// plain reports whether a leaf is one line of JSON that every reader reads alike.
func plain(leaf []byte) bool {
	lim := canon.DefaultLimits()
	lim.Bytes = ledger.MaxLeaf
	return len(leaf) > 0 && leaf[0] == '{' && leaf[len(leaf)-1] == '}' && !bytes.ContainsAny(leaf, "\r\n") && canon.Check(leaf, lim) == nil
}

// ParseLine reads what AppendLine wrote, without its line feed, and nothing else. The leaf shares the line's memory.
func ParseLine(line []byte) (index uint64, leaf []byte, err error) {
	bad := func(why string) (uint64, []byte, error) {
		return 0, nil, fmt.Errorf("%w: malformed line: %s", ErrExport, why)
	}
	rest, ok := bytes.CutPrefix(line, []byte(lineIndex))
	n := bytes.IndexByte(rest, ',')
	if !ok || n < 0 {
		return bad("no index")
	}
	if index, err = parseIndex(rest[:n]); err != nil {
		return bad("index")
	}
	rest = rest[n:]
	if leaf, ok = bytes.CutPrefix(rest, []byte(lineLeaf)); ok {
		if leaf, ok = bytes.CutSuffix(leaf, []byte("}")); !ok || len(leaf) > ledger.MaxLeaf || !plain(leaf) {
			return bad("leaf")
		}
		return index, leaf, nil
	}
	text, ok := bytes.CutPrefix(rest, []byte(lineBase64))
	if ok {
		text, ok = bytes.CutSuffix(text, []byte(`"}`))
	}
	if !ok || bytes.ContainsAny(text, "\r\n") {
		return bad("no leaf")
	}
	if leaf, err = base64.StdEncoding.Strict().AppendDecode(nil, text); err != nil || len(leaf) > ledger.MaxLeaf || plain(leaf) {
		return bad("leaf in base64")
	}
	return index, leaf, nil
}

// parseIndex reads a number in its one spelling.
func parseIndex(text []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err == nil && (n > maxIndex || strconv.FormatUint(n, 10) != string(text)) {
		err = strconv.ErrSyntax
	}
	return n, err
}
