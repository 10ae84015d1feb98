// label-pii labels calls whose arguments or results hold e-mail addresses, IBANs, phone numbers or card numbers.
#[macro_use]
#[path = "../gatewright.rs"]
mod gatewright;
use gatewright::{is_word, Context, Verdict, Walk};

const KINDS: [&str; 4] = ["pii:email", "pii:iban", "pii:phone", "pii:card"];
const EMAIL: u32 = 1;
const IBAN: u32 = 2;
const PHONE: u32 = 4;
const CARD: u32 = 8;
const ALL: u32 = 15;

/// The byte at a place, 0 beyond the ends of the text.
fn get(t: &[u8], at: usize) -> u8 {
    *t.get(at).unwrap_or(&0)
}

fn before(t: &[u8], at: usize) -> u8 {
    if at > 0 { t[at - 1] } else { 0 }
}

/// Looks at the '@' at `at`: something before it, and a domain whose last part has two letters or more.
fn email(t: &[u8], at: usize) -> bool {
    let c = before(t, at);
    if !is_word(c) && !b".%+-".contains(&c) {
        return false;
    }
    let mut end = at + 1;
    while get(t, end).is_ascii_alphanumeric() || get(t, end) == b'.' || get(t, end) == b'-' {
        end += 1;
    }
    while t[end - 1] == b'.' || t[end - 1] == b'-' {
        end -= 1;
    }
    match (at + 2..end).rev().find(|&i| t[i] == b'.') {
        Some(dot) => end - dot >= 3 && t[dot + 1..end].iter().all(|c| c.is_ascii_alphabetic()),
        None => false,
    }
}

/// Looks at the two letters at `at`: two digits, 11 to 30 digits and capitals, a blank between any two, and the remainder of
/// ISO 7064.
fn iban(t: &[u8], at: usize) -> bool {
    let g = |i| get(t, at + i);
    if is_word(before(t, at)) || !g(1).is_ascii_uppercase() || !g(2).is_ascii_digit() || !g(3).is_ascii_digit() {
        return false;
    }
    let letter = |c: u8| (c - b'A') as u32 + 10;
    let head = letter(g(0)) * 10000 + letter(g(1)) * 100 + (g(2) - b'0') as u32 * 10 + (g(3) - b'0') as u32;
    let (mut rest, mut i) = (0u32, at + 4);
    for n in 5..=34 {
        if get(t, i) == b' ' {
            i += 1;
        }
        let c = get(t, i);
        rest = match c {
            b'0'..=b'9' => (rest * 10 + (c - b'0') as u32) % 97,
            b'A'..=b'Z' => (rest * 100 + letter(c)) % 97,
            _ => return false,
        };
        i += 1;
        if n >= 15 && !is_word(get(t, i)) && (rest * 1_000_000 + head) % 97 == 1 {
            return true;
        }
    }
    false
}

/// Looks at the '+' at `at`: 8 to 15 digits, with a mark or two between any.
fn phone(t: &[u8], at: usize) -> bool {
    if is_word(before(t, at)) || !get(t, at + 1).is_ascii_digit() || get(t, at + 1) == b'0' {
        return false;
    }
    let (mut n, mut marks, mut i) = (0, 0, at + 1);
    while n <= 15 {
        let c = get(t, i);
        if c.is_ascii_digit() {
            n += 1;
            marks = 0;
        } else if b" -.()".contains(&c) && marks < 2 {
            marks += 1;
        } else {
            return n >= 8 && (marks > 0 || !is_word(c));
        }
        i += 1;
    }
    false
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |v: u32| if v > 4 { 2 * v - 9 } else { 2 * v };
    let sum: u32 = digits.iter().rev().enumerate().map(|(i, &d)| if i & 1 == 1 { doubled(d as u32) } else { d as u32 }).sum();
    sum % 10 == 0
}

/// Looks at the digit at `at`: 13 to 19 of them, a blank or dash between any two, the last as ISO 7812 wants it.
fn card(t: &[u8], at: usize) -> bool {
    let c = before(t, at);
    if is_word(c) || c == b'.' || c == b'-' || c == b'+' {
        return false;
    }
    let (mut digits, mut n, mut i) = ([0; 19], 0, at);
    while n < 19 {
        if n > 0 && (get(t, i) == b' ' || get(t, i) == b'-') {
            i += 1;
        }
        if !get(t, i).is_ascii_digit() {
            return false;
        }
        digits[n] = t[i] - b'0';
        n += 1;
        i += 1;
        if n >= 13 && !is_word(get(t, i)) && luhn(&digits[..n]) {
            return true;
        }
    }
    false
}

/// What begins at `at`, or 0.
#[inline(never)]
fn look(t: &[u8], at: usize, known: u32) -> u32 {
    let (kind, looks): (u32, fn(&[u8], usize) -> bool) = match t[at] {
        b'@' => (EMAIL, email),
        b'+' => (PHONE, phone),
        b'0'..=b'9' => (CARD, card),
        _ => (IBAN, iban),
    };
    if known & kind == 0 && looks(t, at) { kind } else { 0 }
}

fn judge(c: &Context, v: &mut Verdict) {
    let mut found = 0;
    for s in Walk::new(c.body()) {
        if found == ALL {
            break;
        }
        for (i, c) in s.text.iter().enumerate() {
            if matches!(c, b'@' | b'+' | b'2'..=b'6' | b'A'..=b'Z') {
                found |= look(&s.text, i, found);
            }
        }
    }
    for (i, kind) in KINDS.iter().enumerate() {
        if found >> i & 1 == 1 {
            v.label(kind);
        }
    }
}

filter! { request: judge, response: judge }
