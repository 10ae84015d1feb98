// redact-secrets replaces secrets in the strings of arguments and results by [redacted:KIND] and labels the call secret:KIND.
// A call with a secret in a key is refused: a key cannot be replaced.
#[macro_use]
#[path = "../gatewright.rs"]
mod gatewright;
use gatewright::{is_word, Context, Edit, Kind, Verdict, Walk};

const NAMES: [&str; 5] = ["aws-key", "github-token", "api-key", "slack-token", "private-key"];

/// Where the run of letters, digits and `others` at `at` ends.
fn run(t: &[u8], at: usize, others: &[u8]) -> usize {
    let n = t[at..].iter().take_while(|c| c.is_ascii_alphanumeric() || others.contains(c)).count();
    at + n
}

// The functions below return where the secret that `t` begins with ends.

fn aws(t: &[u8]) -> Option<usize> {
    let head = t.starts_with(b"AKIA") || t.starts_with(b"ASIA");
    let body = t.get(4..20)?.iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let over = t.get(20).map_or(false, |&c| is_word(c));
    if head && body && !over { Some(20) } else { None }
}

fn github(t: &[u8]) -> Option<usize> {
    let head = t.get(..4)?;
    if head[1] != b'h' || !b"pousr".contains(&head[2]) || head[3] != b'_' {
        return None;
    }
    Some(run(t, 4, b"")).filter(|&end| end >= 40)
}

fn api(t: &[u8]) -> Option<usize> {
    if !t.starts_with(b"sk-") {
        return None;
    }
    Some(run(t, 3, b"-_")).filter(|&end| end >= 23)
}

fn slack(t: &[u8]) -> Option<usize> {
    if !t.starts_with(b"xox") || t.len() < 5 || t[4] != b'-' || !b"bpars".contains(&t[3]) {
        return None;
    }
    Some(run(t, 5, b"-")).filter(|&end| end >= 15)
}

fn private_key(t: &[u8]) -> Option<usize> {
    let (head, tail, end) = (b"-----BEGIN ", b"PRIVATE KEY-----", b"-----END ");
    if !t.starts_with(head) {
        return None;
    }
    let mut p = head.len();
    while !t[p..].starts_with(tail) {
        let c = *t.get(p)?;
        if p >= 43 || !(c == b' ' || c.is_ascii_uppercase() || c.is_ascii_digit()) {
            return None;
        }
        p += 1;
    }
    p += tail.len();
    while p < t.len() && !t[p..].starts_with(end) {
        p += 1;
    }
    p += end.len();
    while p < t.len() {
        if t[p..].starts_with(b"-----") {
            return Some(p + 5);
        }
        p += 1;
    }
    Some(t.len())
}

/// The kind of the secret that begins at `at`, and where it ends.
#[inline(never)]
fn secret(t: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = &t[at..];
    let (kind, end) = match t[at] {
        b'-' => (4, private_key(rest)),
        _ if at > 0 && is_word(t[at - 1]) => return None,
        b'A' => (0, aws(rest)),
        b'g' => (1, github(rest)),
        b's' => (2, api(rest)),
        _ => (3, slack(rest)),
    };
    end.map(|n| (kind, at + n))
}

/// The kinds that a text holds, as bits; the text without them goes to `out`.
fn redact(t: &[u8], out: &mut Vec<u8>) -> u32 {
    let (mut kinds, mut done, mut i) = (0, 0, 0);
    while i < t.len() {
        if matches!(t[i], b'A' | b'g' | b's' | b'x' | b'-') {
            if let Some((kind, end)) = secret(t, i) {
                kinds |= 1 << kind;
                out.extend_from_slice(&t[done..i]);
                out.extend_from_slice(b"[redacted:");
                out.extend_from_slice(NAMES[kind].as_bytes());
                out.push(b']');
                done = end;
                i = end;
                continue;
            }
        }
        i += 1;
    }
    if kinds != 0 {
        out.extend_from_slice(&t[done..]);
    }
    kinds
}

fn judge(c: &Context, v: &mut Verdict) {
    let (mut kinds, mut held) = (0, false);
    let mut edit = Edit::new(c.body());
    for s in Walk::new(c.body()).filter(|s| s.kind != Kind::Number) {
        let mut out = Vec::new();
        let found = redact(&s.text, &mut out);
        if found == 0 {
            continue;
        }
        kinds |= found;
        if s.kind == Kind::Key {
            held = true;
        } else {
            edit.replace(&s, &out);
        }
    }
    for (i, name) in NAMES.iter().enumerate() {
        if kinds >> i & 1 == 0 {
            continue;
        }
        v.label(&["secret:", name].concat());
    }
    if held {
        v.deny("secret_in_key", "a key of the JSON holds a secret");
    } else if kinds != 0 {
        v.reason("secrets_redacted");
        v.rewrite(edit.done());
    }
}

filter! { request: judge, response: judge }
