// label-pii labels calls whose arguments or results hold e-mail addresses, IBANs, phone numbers or card numbers.
import { Context, isDigit, isLetter, isUpper, isWord, Text, Verdict, Walk } from "../gatewright";
export { gw_abi_1b, gw_alloc } from "../gatewright";

const EMAIL: u32 = 1,
  IBAN: u32 = 2,
  PHONE: u32 = 4,
  CARD: u32 = 8,
  ALL: u32 = 15;

// email looks at the '@' at `at`: something before it, and a domain whose last part has two letters or more.
function email(t: Text, at: i32): bool {
  let c = t.get(at - 1);
  if (!isWord(c) && c != 0x2e && c != 0x25 && c != 0x2b && c != 0x2d) return false; // . % + -
  let end = at + 1,
    dot = 0;
  for (; (c = t.get(end)), isDigit(c) || isLetter(c) || c == 0x2e || c == 0x2d; ) end++;
  while (t.get(end - 1) == 0x2e || t.get(end - 1) == 0x2d) end--;
  for (let i = at + 2; i < end; i++) if (t.get(i) == 0x2e) dot = i;
  if (!dot || end - dot < 3) return false;
  for (let i = dot + 1; i < end; i++) if (!isLetter(t.get(i))) return false;
  return true;
}

function letter(c: u8): u32 {
  return <u32>c - 0x41 + 10;
}

// iban looks at the two letters at `at`: two digits, 11 to 30 digits and capitals, a blank between any two, and the remainder
// of ISO 7064.
function iban(t: Text, at: i32): bool {
  if (isWord(t.get(at - 1)) || !isUpper(t.get(at + 1)) || !isDigit(t.get(at + 2)) || !isDigit(t.get(at + 3))) return false;
  const head = letter(t.get(at)) * 10000 + letter(t.get(at + 1)) * 100 + (t.get(at + 2) - 0x30) * 10 + (t.get(at + 3) - 0x30);
  let rest: u32 = 0,
    i = at + 4;
  for (let n = 5; n <= 34; n++) {
    if (t.get(i) == 0x20) i++;
    const c = t.get(i++);
    if (isDigit(c)) rest = (rest * 10 + c - 0x30) % 97;
    else if (isUpper(c)) rest = (rest * 100 + letter(c)) % 97;
    else return false;
    if (n >= 15 && !isWord(t.get(i)) && (rest * 1000000 + head) % 97 == 1) return true;
  }
  return false;
}

// phone looks at the '+' at `at`: 8 to 15 digits, with a mark or two between any.
function phone(t: Text, at: i32): bool {
  if (isWord(t.get(at - 1)) || !isDigit(t.get(at + 1)) || t.get(at + 1) == 0x30) return false;
  for (let i = at + 1, n = 0, marks = 0; n <= 15; i++) {
    const c = t.get(i);
    if (isDigit(c)) {
      n++;
      marks = 0;
    } else if ((c == 0x20 || c == 0x2d || c == 0x2e || c == 0x28 || c == 0x29) && marks < 2) {
      marks++;
    } else {
      return n >= 8 && (marks > 0 || !isWord(c));
    }
  }
  return false;
}

const digits = new StaticArray<u8>(19);

// luhn checks the first n digits.
function luhn(n: i32): bool {
  let sum: u32 = 0;
  for (let i = 0; i < n; i++) {
    let v = <u32>unchecked(digits[n - 1 - i]);
    if (i & 1) v = v > 4 ? 2 * v - 9 : 2 * v;
    sum += v;
  }
  return sum % 10 == 0;
}

// card looks at the digit at `at`: 13 to 19 of them, a blank or dash between any two, the last as ISO 7812 wants it.
function card(t: Text, at: i32): bool {
  let c = t.get(at - 1);
  if (isWord(c) || c == 0x2e || c == 0x2d || c == 0x2b) return false; // . - +
  for (let i = at, n = 0; n < 19; i++) {
    c = t.get(i);
    if (n && (c == 0x20 || c == 0x2d)) c = t.get(++i);
    if (!isDigit(c)) return false;
    unchecked((digits[n++] = c - 0x30));
    if (n >= 13 && !isWord(t.get(i + 1)) && luhn(n)) return true;
  }
  return false;
}

// look returns what begins at `at`, or 0.
function look(t: Text, at: i32, known: u32): u32 {
  const c = t.get(at);
  if (c == 0x40) return !(known & EMAIL) && email(t, at) ? EMAIL : 0;
  if (c == 0x2b) return !(known & PHONE) && phone(t, at) ? PHONE : 0;
  if (isDigit(c)) return !(known & CARD) && card(t, at) ? CARD : 0;
  return !(known & IBAN) && iban(t, at) ? IBAN : 0;
}

function judge(c: Context): u64 {
  const v = new Verdict(),
    w = new Walk(c.body);
  let found: u32 = 0;
  while (found != ALL && w.next()) {
    const t = w.text;
    for (let i = 0; i < t.size; i++) {
      const b = load<u8>(t.at + i);
      if (b == 0x40 || b == 0x2b || (b >= 0x32 && b <= 0x36) || isUpper(b)) found |= look(t, i, found);
    }
  }
  if (found & EMAIL) v.label("pii:email");
  if (found & IBAN) v.label("pii:iban");
  if (found & PHONE) v.label("pii:phone");
  if (found & CARD) v.label("pii:card");
  return v.answer(c);
}

export function gw_decide(at: usize, size: i32): u64 {
  return judge(new Context(at));
}

export function gw_on_response(at: usize, size: i32): u64 {
  return judge(new Context(at));
}
