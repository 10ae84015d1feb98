// rate-injection says how much a call reads like a prompt injection, from 0 to 1000, as the score "injection", which policies
// can look at. {"deny_from":800} in its configuration refuses calls of that score and more. It looks for phrases, whatever
// stands between their words, and for characters that nobody sees.
import { Context, isDigit, isWord, Kind, lower, Text, Verdict, Walk } from "../gatewright";
export { gw_abi_1b, gw_alloc } from "../gatewright";

const PHRASES: StaticArray<string> = [
  "act as if", "begin new instructions", "developer mode", "disregard all previous", "disregard previous", "disregard the above",
  "do anything now", "do not mention this", "do not tell the user", "forget everything above", "forget your instructions",
  "from now on you", "ignore all previous", "ignore previous instructions", "ignore the above", "ignore your instructions",
  "im_start", "jailbreak", "new instructions", "override your instructions", "pretend to be", "print your instructions",
  "reveal your", "send the conversation to", "system prompt", "without any restrictions", "you are now",
];
const WEIGHTS: StaticArray<u32> = [
  150, 400, 400, 600, 500, 500, 500, 300, 600, 500, 500, 250, 600, 600, 500, 600, 500, 400, 200, 600, 200, 500, 250, 500, 350,
  300, 250,
];
const HIDDEN = 27; // the bit of characters that nobody sees
const HIDDEN_WEIGHT: u32 = 300;

let denyFrom: u32 = 1001;
const begin = new StaticArray<u8>(33); // where the phrases of a letter begin: a filter pays for what it looks at
let seen: u32 = 0; // a bit for each phrase that was found

// hidden returns how many bytes a character has that nobody sees, 0 for any other: zero width blanks and joins, overrides of
// the direction, the byte order mark and tags.
function hidden(t: Text, i: i32): i32 {
  const a = t.get(i),
    b = t.get(i + 1),
    c = t.get(i + 2);
  if (a == 0xe2 && b == 0x80 && (c == 0x8b || (c >= 0xaa && c <= 0xae))) return 3;
  if (a == 0xe2 && b == 0x81 && c >= 0xa0 && c <= 0xa4) return 3;
  if (a == 0xef && b == 0xbb && c == 0xbf) return 3;
  if (a == 0xf3 && b == 0xa0 && (c == 0x80 || c == 0x81) && i + 3 < t.size) return 4;
  return 0;
}

// words returns the words of a text in lower case, with one blank before and behind each.
function words(t: Text): Text {
  const from = heap.alloc(t.size + 2);
  let to = from;
  store<u8>(to++, 0x20);
  for (let i = 0; i < t.size; i++) {
    const c = load<u8>(t.at + i);
    if (c >= 0xe2) {
      const n = hidden(t, i);
      if (n) {
        seen |= 1 << HIDDEN;
        i += n - 1;
        continue;
      }
    }
    if (isWord(c) || c >= 0x80) store<u8>(to++, lower(c));
    else if (load<u8>(to - 1) != 0x20) store<u8>(to++, 0x20);
  }
  store<u8>(to++, 0x20);
  return new Text(from, <i32>(to - from));
}

// phrase marks the phrases that begin at i.
function phrase(t: Text, i: i32): void {
  const letter = t.get(i) & 31,
    to = unchecked(begin[letter + 1]);
  for (let k = unchecked(begin[letter]); k < to; k++) {
    const p = unchecked(PHRASES[k]);
    if (t.begins(i, p) && t.get(i + p.length) == 0x20) seen |= 1 << k;
  }
}

function look(t: Text): void {
  const text = words(t);
  for (let i = 1; i < text.size; i++) {
    const c = load<u8>(text.at + i);
    if (load<u8>(text.at + i - 1) == 0x20 && c >= 0x61 && unchecked(begin[c & 31]) != unchecked(begin[(c & 31) + 1])) phrase(text, i);
  }
}

function judge(c: Context): u64 {
  const v = new Verdict(),
    w = new Walk(c.body);
  while (w.next()) if (w.kind != Kind.Number) look(w.text);
  let score: u32 = ((seen >> HIDDEN) & 1) * HIDDEN_WEIGHT;
  for (let i = 0; i < WEIGHTS.length; i++) score += ((seen >> i) & 1) * unchecked(WEIGHTS[i]);
  score = min(score, 1000);
  v.score("injection", score);
  if (score >= denyFrom) v.deny("prompt_injection", "it reads like a prompt injection");
  return v.answer(c);
}

export function gw_decide(at: usize, size: i32): u64 {
  return judge(new Context(at));
}

export function gw_on_response(at: usize, size: i32): u64 {
  return judge(new Context(at));
}

// parse reads a whole number from 1 to 1000, or 0.
function parse(t: Text): u32 {
  let n: u32 = 0;
  if (t.size > 4) return 0;
  for (let i = 0; i < t.size; i++) {
    if (!isDigit(t.get(i))) return 0;
    n = n * 10 + t.get(i) - 0x30;
  }
  return n <= 1000 ? n : 0;
}

export function gw_init(at: usize, size: i32): i32 {
  for (let letter = 0; letter <= 32; letter++) {
    for (let i = 0; i < PHRASES.length; i++) if ((PHRASES[i].charCodeAt(0) & 31) < letter) begin[letter]++;
  }
  const w = new Walk(new Text(at, size));
  while (w.next()) {
    if (w.kind == Kind.Key || !w.member.is("deny_from")) continue;
    denyFrom = w.kind == Kind.Number ? parse(w.text) : 0;
    if (!denyFrom) return 1; // not a score
  }
  return 0;
}
