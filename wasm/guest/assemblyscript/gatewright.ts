// The kit for filters in AssemblyScript. It hides the ABI: a filter looks at a Context, tells a Verdict, and exports the few
// functions that its examples show. Texts are bytes of UTF-8 here, not strings, which would have to be converted.
//
// Nothing is ever freed: memory goes back to what it was after gw_init when a call is over.

// Text is some bytes. They are only read.
export class Text {
  constructor(public at: usize, public size: i32) {}

  // of makes a text of a string.
  static of(s: string): Text {
    const size = String.UTF8.byteLength(s);
    const at = heap.alloc(size);
    String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, at);
    return new Text(at, size);
  }

  // get returns the byte at i, 0 beyond the ends.
  @inline get(i: i32): u8 {
    return <u32>i < <u32>this.size ? load<u8>(this.at + i) : 0;
  }

  slice(from: i32, to: i32): Text {
    return new Text(this.at + from, to - from);
  }

  // begins says whether s, of ASCII, stands at i.
  begins(i: i32, s: string): bool {
    const n = s.length;
    if (i < 0 || this.size - i < n) return false;
    for (let k = 0; k < n; k++) {
      if (<u16>load<u8>(this.at + i + k) != load<u16>(changetype<usize>(s) + (k << 1))) return false;
    }
    return true;
  }

  is(s: string): bool {
    return this.size == s.length && this.begins(0, s);
  }

  toString(): string {
    return String.UTF8.decodeUnsafe(this.at, this.size);
  }
}

export enum Phase {
  Request = 1,
  Response,
  Chunk,
}

// Context is what a filter is shown of one call.
export class Context {
  constructor(private at: usize) {}

  private text(i: i32): Text {
    return new Text(this.at + load<u32>(this.at + i), load<i32>(this.at + i + 4));
  }

  get phase(): Phase {
    return load<i32>(this.at + 4);
  }
  // Milliseconds since 1970.
  get now(): i64 {
    return load<i64>(this.at + 16);
  }
  get tenant(): Text {
    return this.text(32);
  }
  get agent(): Text {
    return this.text(40);
  }
  get user(): Text {
    return this.text(48);
  }
  get op(): Text {
    return this.text(56);
  }
  get server(): Text {
    return this.text(64);
  }
  get tool(): Text {
    return this.text(72);
  }
  // Whether the call is a step of a plan: then plan and step say which.
  get inPlan(): bool {
    return (load<u32>(this.at + 12) & 1) == 1;
  }
  get plan(): Text {
    return this.text(80);
  }
  get step(): u32 {
    return load<u32>(this.at + 24);
  }
  // How many labels the filters before this one put on the call.
  get labels(): i32 {
    return load<i32>(this.at + 92);
  }
  label(i: i32): Text {
    return this.text(load<i32>(this.at + 88) + 8 * i);
  }
  // Arguments, result or chunk: a JSON object.
  get body(): Text {
    return this.text(96);
  }
}

// Verdict is what a filter answers. A call that nothing is said of passes.
export class Verdict {
  private verdict: string = "pass";
  private why: string = "";
  private message: string = "";
  private labels: Buffer = new Buffer();
  private scores: Buffer = new Buffer();
  private body: Text | null = null;

  // deny refuses the call: the reason is of a-z 0-9 _, the message for people.
  deny(reason: string, message: string): void {
    this.verdict = "deny";
    this.why = reason;
    this.message = message;
  }
  reason(reason: string): void {
    this.why = reason;
  }
  // label adds a label of a-z 0-9 : _ . -
  label(label: string): void {
    if (this.labels.size) this.labels.push(0x2c);
    this.labels.quote(Text.of(label));
  }
  // score adds a score from 0 to 1000 under a name of a-z 0-9 _
  score(name: string, score: u32): void {
    if (this.scores.size) this.scores.push(0x2c);
    this.scores.quote(Text.of(name));
    this.scores.push(0x3a);
    this.scores.write(score.toString());
  }
  // rewrite has the call go on with this JSON object in place of the body.
  rewrite(body: Text): void {
    if (this.verdict == "pass") this.verdict = "rewrite";
    this.body = body;
  }

  // answer writes the verdict and returns where it lies.
  answer(c: Context): u64 {
    const b = new Buffer();
    b.write('{"verdict":"');
    b.write(this.verdict);
    b.push(0x22);
    if (this.why.length) b.member(',"reason":', this.why);
    if (this.message.length) b.member(',"message":', this.message);
    if (this.labels.size) b.list(',"labels":[', this.labels, "]");
    if (this.scores.size) b.list(',"scores":{', this.scores, "}");
    const body = this.body;
    if (body && this.verdict == "rewrite") {
      b.write(c.phase == Phase.Request ? ',"arguments":' : c.phase == Phase.Response ? ',"result":' : ',"chunk":');
      b.put(body);
    }
    b.push(0x7d);
    return ((<u64>b.at) << 32) | b.size;
  }
}

// Buffer is a text that grows.
export class Buffer {
  at: usize = 0;
  size: i32 = 0;
  private room: i32 = 0;

  private grow(more: i32): void {
    const room = max(256, (this.size + more) * 2);
    const at = heap.alloc(room);
    memory.copy(at, this.at, this.size);
    this.at = at;
    this.room = room;
  }

  @inline push(c: u8): void {
    if (this.room == this.size) this.grow(1);
    store<u8>(this.at + this.size++, c);
  }
  put(t: Text): void {
    if (this.room - this.size < t.size) this.grow(t.size);
    memory.copy(this.at + this.size, t.at, t.size);
    this.size += t.size;
  }
  // write adds a string of ASCII.
  write(s: string): void {
    for (let i = 0; i < s.length; i++) this.push(<u8>s.charCodeAt(i));
  }
  // quote adds a JSON string with its quotes.
  quote(t: Text): void {
    this.push(0x22);
    let done = 0;
    for (let i = 0; i < t.size; i++) {
      const c = load<u8>(t.at + i);
      if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
      this.put(t.slice(done, i));
      this.escape(c);
      done = i + 1;
    }
    this.put(t.slice(done, t.size));
    this.push(0x22);
  }
  private escape(c: u8): void {
    const short = "\"\\\b\f\n\r\t".indexOf(String.fromCharCode(c));
    this.push(0x5c);
    if (short >= 0) return this.push(<u8>'"\\bfnrt'.charCodeAt(short));
    this.write("u00");
    this.push(<u8>"0123456789abcdef".charCodeAt(c >> 4));
    this.push(<u8>"0123456789abcdef".charCodeAt(c & 15));
  }
  member(before: string, value: string): void {
    this.write(before);
    this.quote(Text.of(value));
  }
  list(before: string, list: Buffer, after: string): void {
    this.write(before);
    this.put(list.text);
    this.write(after);
  }
  get text(): Text {
    return new Text(this.at, this.size);
  }
}

export enum Kind {
  Key,
  String,
  Number,
}

const NOTHING = new Text(0, 0);

// Walk visits the keys, strings and numbers of JSON, in order: while (w.next()) ...
export class Walk {
  kind: Kind = Kind.Key;
  text: Text = NOTHING; // what it says, with no escapes left
  from: i32 = 0; // where it stands in the JSON, quotes included
  to: i32 = 0;
  depth: i32 = 0; // how many objects and arrays are open around it
  member: Text = NOTHING; // the key at depth one that it belongs to
  private i: i32 = 0;

  constructor(private json: Text) {}

  next(): bool {
    for (; this.i < this.json.size; this.i++) {
      const c = load<u8>(this.json.at + this.i);
      if (c == 0x22) return this.string();
      if (isDigit(c) || c == 0x2d) return this.number();
      if (c == 0x7b || c == 0x5b) this.depth++;
      if (c == 0x7d || c == 0x5d) this.depth--;
    }
    return false;
  }

  private number(): bool {
    this.from = this.i;
    for (let c: u8; (c = this.json.get(this.i)), isDigit(c) || c == 0x2d || c == 0x2b || c == 0x2e || (c | 32) == 0x65; ) this.i++;
    this.to = this.i;
    this.kind = Kind.Number;
    this.text = this.json.slice(this.from, this.to);
    return true;
  }

  private string(): bool {
    const start = this.json.at,
      size = this.json.size;
    let escaped = false,
      p = this.i + 1;
    for (; p < size; p++) {
      const c = load<u8>(start + p);
      if (c == 0x22) break;
      if (c == 0x5c) {
        escaped = true;
        p++;
      }
    }
    p = min(p, size);
    const raw = this.json.slice(this.i + 1, p);
    this.text = escaped ? unescape(raw) : raw;
    this.from = this.i;
    this.to = this.i = min(p + 1, size);
    this.kind = this.isKey() ? Kind.Key : Kind.String;
    if (this.kind == Kind.Key && this.depth == 1) this.member = this.text;
    return true;
  }

  private isKey(): bool {
    let i = this.i;
    for (let c: u8; (c = this.json.get(i)), c == 0x20 || c == 0x0a || c == 0x09 || c == 0x0d; ) i++;
    return this.json.get(i) == 0x3a;
  }
}

function unescape(t: Text): Text {
  const b = new Buffer();
  for (let i = 0; i < t.size; i++) {
    let c = t.get(i);
    if (c != 0x5c || i + 1 == t.size) {
      b.push(c);
      continue;
    }
    c = t.get(++i);
    if (c == 0x75) {
      i = unescapeU(t, i + 1, b) - 1;
      continue;
    }
    const short = "bfnrt".indexOf(String.fromCharCode(c));
    b.push(short >= 0 ? <u8>"\b\f\n\r\t".charCodeAt(short) : c);
  }
  return b.text;
}

// unescapeU decodes the four digits at i, or two such escapes that are one character, and returns where they end. The gateway
// lets no other surrogates through.
function unescapeU(t: Text, i: i32, b: Buffer): i32 {
  let r = hex4(t, i);
  i += 4;
  if (r >= 0xd800 && r < 0xdc00) {
    r = 0x10000 + ((r - 0xd800) << 10) + (hex4(t, i + 2) & 0x3ff);
    i += 6;
  }
  if (r < 0x80) {
    b.push(<u8>r);
    return i;
  }
  if (r < 0x800) b.push(<u8>(0xc0 | (r >> 6)));
  else {
    if (r < 0x10000) b.push(<u8>(0xe0 | (r >> 12)));
    else {
      b.push(<u8>(0xf0 | (r >> 18)));
      b.push(<u8>(0x80 | ((r >> 12) & 63)));
    }
    b.push(<u8>(0x80 | ((r >> 6) & 63)));
  }
  b.push(<u8>(0x80 | (r & 63)));
  return i;
}

function hex4(t: Text, i: i32): u32 {
  let v: u32 = 0;
  for (let end = i + 4; i < end; i++) {
    const c = <u32>t.get(i);
    v = (v << 4) | (c <= 0x39 ? c - 0x30 : (c | 32) - 0x57);
  }
  return v & 0xffff;
}

// Edit copies JSON with some of its strings replaced.
export class Edit {
  private out: Buffer = new Buffer();
  private done: i32 = 0;

  constructor(private json: Text) {}

  // replace puts a string in place of what the walk stands at.
  replace(w: Walk, text: Text): void {
    this.out.put(this.json.slice(this.done, w.from));
    this.out.quote(text);
    this.done = w.to;
  }
  get text(): Text {
    this.out.put(this.json.slice(this.done, this.json.size));
    return this.out.text;
  }
}

export function isDigit(c: u8): bool {
  return c >= 0x30 && c <= 0x39;
}
export function isUpper(c: u8): bool {
  return c >= 0x41 && c <= 0x5a;
}
export function isLetter(c: u8): bool {
  return isUpper(c & ~32);
}
// isWord says what words are made of, as far as ASCII goes.
export function isWord(c: u8): bool {
  return isLetter(c) || isDigit(c) || c == 0x5f;
}
export function lower(c: u8): u8 {
  return isUpper(c) ? c | 32 : c;
}

export enum Level {
  Debug,
  Info,
  Warning,
  Error,
}

@external("gw", "log")
declare function hostLog(level: i32, at: usize, size: i32): void;

// log writes a line to the filter's log, of which little is kept.
export function log(level: Level, text: Text): void {
  hostLog(level, text.at, text.size);
}

// What follows is the ABI: a filter exports gw_abi_1b and gw_alloc as they are here.

export function gw_abi_1b(): void {}

export function gw_alloc(size: i32): usize {
  return heap.alloc(size);
}

// stop is called when a check fails; asconfig.json says so.
export function stop(message: string | null, file: string | null, line: u32, column: u32): void {
  unreachable();
}
