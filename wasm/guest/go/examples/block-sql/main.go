//go:build wasm

// Command block-sql is a filter that refuses SQL that touches one of the tables {"tables":["payroll",...]} of its configuration.
// A string of the arguments is SQL when it has a word such as select, and touches a table when it has the table's name as a
// word: in quotes, behind a schema, in a comment or in a literal too, since what these are differs between databases. Names that
// SQL puts together when it runs, and what views and procedures touch, cannot be seen here.
package main

import gw "github.com/gatewright/gatewright/wasm/guest/go"

const most = 64 // tables, and bytes of a name

var (
	tables  []string // in lower case
	letters uint32   // a bit for each letter that a table's name begins with
)

var verbs = [...]string{
	"alter", "analyze", "attach", "call", "copy", "create", "delete", "desc", "describe", "drop", "exec", "execute", "explain",
	"export", "grant", "handler", "import", "insert", "load", "lock", "merge", "rename", "replace", "revoke", "select", "show",
	"table", "truncate", "update", "upsert", "vacuum", "with",
}

// part reports whether a byte may stand in a name. Names beyond ASCII are never a table's, but must not be cut.
func part(c byte) bool { return gw.IsWord(c) || c == '$' || c >= 0x80 }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 32
	}
	return c
}

// same compares a word with a name in lower case.
func same(word []byte, name string) bool {
	if len(word) != len(name) {
		return false
	}
	for i, c := range word {
		if lower(c) != name[i] {
			return false
		}
	}
	return true
}

func verb(word []byte) bool {
	first := lower(word[0])
	for _, v := range verbs {
		if v[0] == first && same(word, v) {
			return true
		}
	}
	return false
}

// table returns the table that a word names, "" for none.
func table(word []byte) string {
	if letters>>(lower(word[0])&31)&1 == 0 {
		return ""
	}
	for _, name := range tables {
		if same(word, name) {
			return name
		}
	}
	return ""
}

// touched returns the first table that a text touches as SQL, "" for none.
func touched(t []byte) string {
	sql, found := false, ""
	for i := 0; i < len(t); i++ {
		from := i
		for i < len(t) && part(t[i]) {
			i++
		}
		if i == from {
			continue
		}
		sql = sql || verb(t[from:i])
		if found == "" {
			found = table(t[from:i])
		}
		if sql && found != "" {
			return found
		}
	}
	return ""
}

func judge(c gw.Context, v *gw.Verdict) {
	for w := gw.NewWalk(c.Body()); w.Next(); {
		if w.Kind == gw.Number {
			continue
		}
		if name := touched(w.Text); name != "" {
			v.Deny("sql_table", "the statement touches the table "+name)
			return
		}
	}
}

// add takes a name of the configuration: a word of ASCII.
func add(name []byte) bool {
	if len(tables) == most || len(name) < 1 || len(name) > most {
		return false
	}
	kept := make([]byte, len(name))
	for i, c := range name {
		if !part(c) || c >= 0x80 {
			return false
		}
		kept[i] = lower(c)
	}
	letters |= 1 << (kept[0] & 31)
	tables = append(tables, string(kept))
	return true
}

func configure(config []byte) int32 {
	for w := gw.NewWalk(config); w.Next(); {
		if w.Kind == gw.String && string(w.Member) == "tables" && !add(w.Text) {
			return 2 // no name of a table
		}
	}
	if len(tables) == 0 {
		return 1 // it would do nothing
	}
	return 0
}

//go:wasmexport gw_init
func start(_, size uint32) int32 { return configure(gw.Config(size)) }

//go:wasmexport gw_decide
func decide(_, size uint32) uint64 { return gw.Judge(size, judge) }

func main() {}
