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

// begin says where the verbs of a letter begin: a filter pays for what it looks at.
var begin [33]uint8

// same compares a word with a name in lower case.
//
//go:noinline
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

// verb reports whether a word is one of verbs.
//
//go:noinline
func verb(word []byte) bool {
	letter := word[0] & 31
	for _, v := range verbs[begin[letter]:begin[letter+1]] {
		if len(v) == len(word) && same(word, v) {
			return true
		}
	}
	return false
}

// table returns the table that a word names, "" for none.
//
//go:noinline
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

// classes says of each byte whether it may stand in a name, as part does, which would cost more.
var classes [256]bool

// skip returns where the next word from `at` on begins, or the length of t, and span where the word at `at` ends. They are apart
// from what is done with words: Go's compiler makes one loop of a whole function, which is paid for by all that stands in it.
//
//go:noinline
func skip(t []byte, at int) int {
	for at < len(t) && !classes[t[at]] {
		at++
	}
	return at
}

//go:noinline
func span(t []byte, at int) int {
	for at < len(t) && classes[t[at]] {
		at++
	}
	return at
}

// sizes has a bit for each size of the verbs and tables that begin with a byte; the last one is for all that are larger.
var sizes [256]uint16

func size(word []byte) uint16 { return 1 << min(len(word), 15) }

// expect marks the size of a name in lower case.
func expect(name string) {
	c := name[0]
	sizes[c] |= size([]byte(name))
	if c >= 'a' && c <= 'z' {
		sizes[c&^32] |= size([]byte(name))
	}
}

// finding is what the words of a text have shown so far.
type finding struct {
	sql   bool
	table string
}

//go:noinline
func (f *finding) look(word []byte) (done bool) {
	f.sql = f.sql || verb(word)
	if f.table == "" {
		f.table = table(word)
	}
	return f.sql && f.table != ""
}

// touched returns the first table that a text touches as SQL, "" for none.
func touched(t []byte) string {
	var f finding
	for from := skip(t, 0); from < len(t); {
		to := span(t, from)
		if sizes[t[from]]&size(t[from:to]) != 0 && f.look(t[from:to]) {
			return f.table
		}
		from = skip(t, to)
	}
	return ""
}

func judge(c gw.Context, v *gw.Verdict) {
	for w := c.Walk(); w.Next(); {
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
	expect(string(kept))
	return true
}

func configure(config []byte) int32 {
	for c := range classes {
		classes[c] = part(byte(c))
	}
	for letter := range byte(len(begin)) {
		for _, v := range verbs {
			expect(v)
			if v[0]&31 < letter {
				begin[letter]++
			}
		}
	}
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
