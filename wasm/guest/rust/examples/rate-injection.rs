// rate-injection says how much a call reads like a prompt injection, from 0 to 1000, as the score "injection", which policies
// can look at. {"deny_from":800} in its configuration refuses calls of that score and more. It looks for phrases, whatever
// stands between their words, and for characters that nobody sees.
#[macro_use]
#[path = "../gatewright.rs"]
mod gatewright;
use gatewright::{is_word, Context, Kind, Verdict, Walk};

const PHRASES: [(&str, u32); 27] = [
    ("act as if", 150), ("begin new instructions", 400), ("developer mode", 400), ("disregard all previous", 600),
    ("disregard previous", 500), ("disregard the above", 500), ("do anything now", 500), ("do not mention this", 300),
    ("do not tell the user", 600), ("forget everything above", 500), ("forget your instructions", 500), ("from now on you", 250),
    ("ignore all previous", 600), ("ignore previous instructions", 600), ("ignore the above", 500),
    ("ignore your instructions", 600), ("im_start", 500), ("jailbreak", 400), ("new instructions", 200),
    ("override your instructions", 600), ("pretend to be", 200), ("print your instructions", 500), ("reveal your", 250),
    ("send the conversation to", 500), ("system prompt", 350), ("without any restrictions", 300), ("you are now", 250),
];
const HIDDEN: usize = PHRASES.len(); // the bit of characters that nobody sees
const HIDDEN_WEIGHT: u32 = 300;

static mut DENY_FROM: u32 = 1001;
/// Where the phrases of a letter begin: a filter pays for what it looks at.
static mut BEGIN: [u8; 33] = [0; 33];

/// Which phrases begin with a letter.
fn of(letter: u8) -> std::ops::Range<usize> {
    let i = (letter & 31) as usize;
    unsafe { BEGIN[i] as usize..BEGIN[i + 1] as usize }
}

/// How many bytes a character has that nobody sees, 0 for any other: zero width blanks and joins, overrides of the direction,
/// the byte order mark and tags.
#[inline(never)]
fn hidden(t: &[u8]) -> usize {
    match *t {
        [0xe2, 0x80, 0x8b | 0xaa..=0xae, ..] | [0xe2, 0x81, 0xa0..=0xa4, ..] | [0xef, 0xbb, 0xbf, ..] => 3,
        [0xf3, 0xa0, 0x80 | 0x81, _, ..] => 4,
        _ => 0,
    }
}

/// The words of a text in lower case, with one blank before and behind each.
fn words(t: &[u8], seen: &mut u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(t.len() + 2);
    out.push(b' ');
    let mut i = 0;
    while i < t.len() {
        let c = t[i];
        if c >= 0xe2 {
            let n = hidden(&t[i..]);
            if n > 0 {
                *seen |= 1 << HIDDEN;
                i += n;
                continue;
            }
        }
        if is_word(c) || c >= 0x80 {
            out.push(c.to_ascii_lowercase());
        } else if out[out.len() - 1] != b' ' {
            out.push(b' ');
        }
        i += 1;
    }
    out.push(b' ');
    out
}

/// Marks the phrases that `t` begins with.
#[inline(never)]
fn phrase(t: &[u8], seen: &mut u32) {
    for i in of(t[0]) {
        let words = PHRASES[i].0.as_bytes();
        if t.starts_with(words) && t.get(words.len()) == Some(&b' ') {
            *seen |= 1 << i;
        }
    }
}

fn look(t: &[u8], seen: &mut u32) {
    let text = words(t, seen);
    for i in 1..text.len() {
        if text[i - 1] == b' ' && text[i] >= b'a' && !of(text[i]).is_empty() {
            phrase(&text[i..], seen);
        }
    }
}

fn judge(c: &Context, v: &mut Verdict) {
    let mut seen = 0;
    for s in Walk::new(c.body()).filter(|s| s.kind != Kind::Number) {
        look(&s.text, &mut seen);
    }
    let mut score = (seen >> HIDDEN & 1) * HIDDEN_WEIGHT;
    for (i, (_, weight)) in PHRASES.iter().enumerate() {
        score += (seen >> i & 1) * weight;
    }
    score = score.min(1000);
    v.score("injection", score);
    if score >= unsafe { DENY_FROM } {
        v.deny("prompt_injection", "it reads like a prompt injection");
    }
}

/// Reads a whole number from 1 to 1000.
fn parse(t: &[u8]) -> Option<u32> {
    std::str::from_utf8(t).ok()?.parse().ok().filter(|n| (1..=1000).contains(n))
}

fn configure(config: &[u8]) -> i32 {
    for letter in 0..=32 {
        let before = PHRASES.iter().filter(|(words, _)| words.as_bytes()[0] & 31 < letter).count();
        unsafe { BEGIN[letter as usize] = before as u8 };
    }
    let mut walk = Walk::new(config);
    while let Some(s) = walk.next() {
        if walk.member() != b"deny_from" || s.kind == Kind::Key {
            continue;
        }
        match parse(&s.text) {
            Some(n) if s.kind == Kind::Number => unsafe { DENY_FROM = n },
            _ => return 1, // not a score
        }
    }
    0
}

filter! { request: judge, response: judge, init: configure }
