// block-sql refuses SQL that touches one of the tables {"tables":["payroll",...]} of its configuration. A string of the
// arguments is SQL when it has a word such as select, and touches a table when it has the table's name as a word: in quotes,
// behind a schema, in a comment or in a literal too, since what these are differs between databases. Names that SQL puts
// together when it runs, and what views and procedures touch, cannot be seen here.
import { Context, isWord, Kind, lower, Text, Verdict, Walk } from "../gatewright";
export { gw_abi_1b, gw_alloc } from "../gatewright";

const MOST = 64; // tables, and bytes of a name
const tables = new Array<string>(); // in lower case
let letters: u32 = 0; // a bit for each letter that a table's name begins with

const VERBS: StaticArray<string> = [
  "alter", "analyze", "attach", "call", "copy", "create", "delete", "desc", "describe", "drop", "exec", "execute", "explain",
  "export", "grant", "handler", "import", "insert", "load", "lock", "merge", "rename", "replace", "revoke", "select", "show",
  "table", "truncate", "update", "upsert", "vacuum", "with",
];

// begin says where the verbs of a letter begin: a filter pays for what it looks at.
const begin = new StaticArray<u8>(33);

// isPart says whether a byte may stand in a name. Names beyond ASCII are never a table's, but must not be cut.
function isPart(c: u8): bool {
  return isWord(c) || c == 0x24 || c >= 0x80;
}

function bit(c: u8): u32 {
  return 1 << (c & 31);
}

// same compares a word with a name in lower case.
function same(word: Text, name: string): bool {
  if (word.size != name.length) return false;
  for (let i = 0; i < word.size; i++) if (<u16>lower(word.get(i)) != load<u16>(changetype<usize>(name) + (i << 1))) return false;
  return true;
}

function isVerb(word: Text): bool {
  const letter = word.get(0) & 31,
    to = unchecked(begin[letter + 1]);
  for (let i = unchecked(begin[letter]); i < to; i++) if (same(word, unchecked(VERBS[i]))) return true;
  return false;
}

// table returns the table that a word names, "" for none.
function table(word: Text): string {
  if (letters & bit(lower(word.get(0)))) {
    for (let i = 0; i < tables.length; i++) if (same(word, tables[i])) return tables[i];
  }
  return "";
}

// touched returns the first table that a text touches as SQL, "" for none.
function touched(t: Text): string {
  let sql = false,
    found = "";
  for (let i = 0; i < t.size; i++) {
    const from = i;
    while (i < t.size && isPart(load<u8>(t.at + i))) i++;
    if (i == from) continue;
    const word = t.slice(from, i);
    if (!sql) sql = isVerb(word);
    if (!found.length) found = table(word);
    if (sql && found.length) return found;
  }
  return "";
}

export function gw_decide(at: usize, size: i32): u64 {
  const c = new Context(at),
    v = new Verdict(),
    w = new Walk(c.body);
  while (w.next()) {
    if (w.kind == Kind.Number) continue;
    const name = touched(w.text);
    if (!name.length) continue;
    v.deny("sql_table", "the statement touches the table " + name);
    break;
  }
  return v.answer(c);
}

// add takes a name of the configuration: a word of ASCII.
function add(name: Text): bool {
  if (tables.length == MOST || name.size < 1 || name.size > MOST) return false;
  for (let i = 0; i < name.size; i++) if (!isPart(name.get(i)) || name.get(i) >= 0x80) return false;
  letters |= bit(lower(name.get(0)));
  tables.push(name.toString().toLowerCase());
  return true;
}

export function gw_init(at: usize, size: i32): i32 {
  for (let letter = 0; letter <= 32; letter++) {
    for (let i = 0; i < VERBS.length; i++) if ((VERBS[i].charCodeAt(0) & 31) < letter) begin[letter]++;
  }
  const w = new Walk(new Text(at, size));
  while (w.next()) if (w.kind == Kind.String && w.member.is("tables") && !add(w.text)) return 2; // no name of a table
  return tables.length ? 0 : 1; // without tables it would do nothing
}
