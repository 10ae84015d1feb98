// redact-secrets replaces secrets in the strings of arguments and results by [redacted:KIND] and labels the call secret:KIND.
// A call with a secret in a key is refused: a key cannot be replaced.
import { Buffer, Context, Edit, isDigit, isLetter, isUpper, isWord, Kind, Text, Verdict, Walk } from "../gatewright";
export { gw_abi_1b, gw_alloc } from "../gatewright";

const NAMES: StaticArray<string> = ["aws-key", "github-token", "api-key", "slack-token", "private-key"];

// run returns where the run of letters, digits and one or two others at `at` ends.
function run(t: Text, at: i32, other: u8, another: u8): i32 {
  for (; at < t.size; at++) {
    const c = t.get(at);
    if (!isLetter(c) && !isDigit(c) && c != other && c != another) break;
  }
  return at;
}

// The functions below return where the secret that begins at `at` ends, or 0 where there is none.

function aws(t: Text, at: i32): i32 {
  const end = at + 20;
  if (end > t.size || !(t.begins(at, "AKIA") || t.begins(at, "ASIA"))) return 0;
  for (let i = at + 4; i < end; i++) if (!isUpper(t.get(i)) && !isDigit(t.get(i))) return 0;
  return isWord(t.get(end)) ? 0 : end;
}

function github(t: Text, at: i32): i32 {
  const c = t.get(at + 2);
  if (t.get(at + 1) != 0x68 || t.get(at + 3) != 0x5f) return 0;
  if (c != 0x70 && c != 0x6f && c != 0x75 && c != 0x73 && c != 0x72) return 0; // p o u s r
  const end = run(t, at + 4, 0x30, 0x30);
  return end - at >= 40 ? end : 0;
}

function api(t: Text, at: i32): i32 {
  if (!t.begins(at, "sk-")) return 0;
  const end = run(t, at + 3, 0x2d, 0x5f);
  return end - at >= 23 ? end : 0;
}

function slack(t: Text, at: i32): i32 {
  const c = t.get(at + 3);
  if (!t.begins(at, "xox") || t.get(at + 4) != 0x2d) return 0;
  if (c != 0x62 && c != 0x70 && c != 0x61 && c != 0x72 && c != 0x73) return 0; // b p a r s
  const end = run(t, at + 5, 0x2d, 0x2d);
  return end - at >= 15 ? end : 0;
}

function privateKey(t: Text, at: i32): i32 {
  if (!t.begins(at, "-----BEGIN ")) return 0;
  let p = at + 11;
  for (; !t.begins(p, "PRIVATE KEY-----"); p++) {
    const c = t.get(p);
    if (p >= at + 43 || !(c == 0x20 || isUpper(c) || isDigit(c))) return 0;
  }
  for (p += 16; p < t.size; p++) if (t.get(p) == 0x2d && t.begins(p, "-----END ")) break;
  for (p += 9; p < t.size; p++) if (t.get(p) == 0x2d && t.begins(p, "-----")) return p + 5;
  return t.size;
}

let kind = 0; // of the secret that was found last

// secret returns where the secret that begins at `at` ends, or 0.
function secret(t: Text, at: i32): i32 {
  const c = t.get(at);
  kind = c == 0x2d ? 4 : c == 0x41 ? 0 : c == 0x67 ? 1 : c == 0x73 ? 2 : 3;
  if (kind == 4) return privateKey(t, at);
  if (isWord(t.get(at - 1))) return 0;
  return kind == 0 ? aws(t, at) : kind == 1 ? github(t, at) : kind == 2 ? api(t, at) : slack(t, at);
}

// redact returns the kinds that a text holds, as bits, and puts the text without them into out.
function redact(t: Text, out: Buffer): u32 {
  let kinds = 0,
    done = 0;
  for (let i = 0; i < t.size; i++) {
    const c = load<u8>(t.at + i);
    if (c != 0x2d && c != 0x41 && c != 0x67 && c != 0x73 && c != 0x78) continue; // - A g s x
    const end = secret(t, i);
    if (!end) continue;
    kinds |= 1 << kind;
    out.put(t.slice(done, i));
    out.write("[redacted:");
    out.write(NAMES[kind]);
    out.push(0x5d);
    done = end;
    i = end - 1;
  }
  if (kinds) out.put(t.slice(done, t.size));
  return kinds;
}

function judge(c: Context): u64 {
  const v = new Verdict(),
    w = new Walk(c.body),
    edit = new Edit(c.body);
  let kinds: u32 = 0,
    held = false;
  while (w.next()) {
    if (w.kind == Kind.Number) continue;
    const out = new Buffer(),
      found = redact(w.text, out);
    if (!found) continue;
    kinds |= found;
    if (w.kind == Kind.Key) held = true;
    else edit.replace(w, out.text);
  }
  for (let i = 0; i < NAMES.length; i++) if ((kinds >> i) & 1) v.label("secret:" + NAMES[i]);
  if (held) {
    v.deny("secret_in_key", "a key of the JSON holds a secret");
  } else if (kinds) {
    v.reason("secrets_redacted");
    v.rewrite(edit.text);
  }
  return v.answer(c);
}

export function gw_decide(at: usize, size: i32): u64 {
  return judge(new Context(at));
}

export function gw_on_response(at: usize, size: i32): u64 {
  return judge(new Context(at));
}
