// block-sql refuses SQL that touches one of the tables {"tables":["payroll",...]} of its configuration. A string of the
// arguments is SQL when it has a word such as select, and touches a table when it has the table's name as a word: in quotes,
// behind a schema, in a comment or in a literal too, since what these are differs between databases. Names that SQL puts
// together when it runs, and what views and procedures touch, cannot be seen here.
#[macro_use]
#[path = "../gatewright.rs"]
mod gatewright;
use gatewright::{is_word, Context, Kind, Verdict, Walk};

/// The names of the configuration, in lower case. Set once, before any call.
static mut TABLES: Vec<Vec<u8>> = Vec::new();
/// A bit for each letter that a table's name begins with.
static mut LETTERS: u32 = 0;

const MOST: usize = 64; // tables, and bytes of a name

const VERBS: [&[u8]; 32] = [
    b"alter", b"analyze", b"attach", b"call", b"copy", b"create", b"delete", b"desc", b"describe", b"drop", b"exec", b"execute",
    b"explain", b"export", b"grant", b"handler", b"import", b"insert", b"load", b"lock", b"merge", b"rename", b"replace",
    b"revoke", b"select", b"show", b"table", b"truncate", b"update", b"upsert", b"vacuum", b"with",
];

/// Where the verbs of a letter begin: a filter pays for what it looks at.
static mut BEGIN: [u8; 33] = [0; 33];

/// Whether a byte may stand in a name. Names beyond ASCII are never a table's, but must not be cut.
fn part(c: u8) -> bool {
    is_word(c) || c == b'$' || c >= 0x80
}

fn bit(c: u8) -> u32 {
    1 << (c & 31)
}

#[inline(never)]
fn is_verb(word: &[u8]) -> bool {
    let letter = (word[0] & 31) as usize;
    let (from, to) = unsafe { (BEGIN[letter] as usize, BEGIN[letter + 1] as usize) };
    VERBS[from..to].iter().any(|v| v.eq_ignore_ascii_case(word))
}

#[inline(never)]
fn table(word: &[u8]) -> Option<&'static [u8]> {
    if unsafe { LETTERS } & bit(word[0].to_ascii_lowercase()) == 0 {
        return None;
    }
    let tables: &'static [Vec<u8>] = unsafe { &TABLES };
    tables.iter().find(|t| t.eq_ignore_ascii_case(word)).map(|t| t.as_slice())
}

/// The first table that a text touches as SQL.
fn touched(t: &[u8]) -> Option<&'static [u8]> {
    let (mut sql, mut found) = (false, None);
    for word in t.split(|&c| !part(c)).filter(|w| !w.is_empty()) {
        sql = sql || is_verb(word);
        found = found.or_else(|| table(word));
        if sql && found.is_some() {
            return found;
        }
    }
    None
}

fn judge(c: &Context, v: &mut Verdict) {
    for s in Walk::new(c.body()).filter(|s| s.kind != Kind::Number) {
        if let Some(name) = touched(&s.text) {
            let name = std::str::from_utf8(name).unwrap_or("");
            v.deny("sql_table", &["the statement touches the table ", name].concat());
            return;
        }
    }
}

fn configure(config: &[u8]) -> i32 {
    for letter in 0..=32 {
        let before = VERBS.iter().filter(|v| v[0] & 31 < letter).count();
        unsafe { BEGIN[letter as usize] = before as u8 };
    }
    let mut tables = Vec::new();
    let mut walk = Walk::new(config);
    while let Some(s) = walk.next() {
        if s.kind != Kind::String || walk.member() != b"tables" {
            continue;
        }
        let fits = (1..=MOST).contains(&s.text.len()) && s.text.iter().all(|&c| part(c) && c < 0x80);
        if !fits || tables.len() == MOST {
            return 2; // no name of a table
        }
        unsafe { LETTERS |= bit(s.text[0].to_ascii_lowercase()) };
        tables.push(s.text.to_ascii_lowercase());
    }
    let none = tables.is_empty();
    unsafe { TABLES = tables };
    none as i32 // without tables it would do nothing
}

filter! { request: judge, init: configure }
