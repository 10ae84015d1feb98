//! The kit for filters in Rust: one file without dependencies. It hides the ABI: a filter is functions that look at a
//! `Context` and tell a `Verdict`, named in `filter!`.
//!
//! Nothing is ever freed: memory goes back to what it was after `gw_init` when a call is over.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::borrow::Cow;

/// What a filter is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Request,
    Response,
    Chunk,
}

/// What a filter is shown of one call.
#[derive(Clone, Copy)]
pub struct Context {
    raw: &'static [u8],
}

impl Context {
    /// Reads the context that the gateway wrote at `at`; `filter!` does it.
    ///
    /// # Safety
    /// The gateway must have written a context of `size` bytes there.
    pub unsafe fn read(at: *const u8, size: usize) -> Context {
        Context { raw: std::slice::from_raw_parts(at, size) }
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.raw[at], self.raw[at + 1], self.raw[at + 2], self.raw[at + 3]])
    }

    fn bytes(&self, at: usize) -> &'static [u8] {
        let from = self.number(at) as usize;
        &self.raw[from..from + self.number(at + 4) as usize]
    }

    /// The gateway writes nothing but UTF-8.
    fn text(&self, at: usize) -> &'static str {
        unsafe { std::str::from_utf8_unchecked(self.bytes(at)) }
    }

    pub fn phase(&self) -> Phase {
        match self.number(4) {
            2 => Phase::Response,
            3 => Phase::Chunk,
            _ => Phase::Request,
        }
    }
    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        (self.number(20) as i64) << 32 | self.number(16) as i64
    }
    pub fn tenant(&self) -> &'static str {
        self.text(32)
    }
    pub fn agent(&self) -> &'static str {
        self.text(40)
    }
    pub fn user(&self) -> &'static str {
        self.text(48)
    }
    pub fn op(&self) -> &'static str {
        self.text(56)
    }
    pub fn server(&self) -> &'static str {
        self.text(64)
    }
    pub fn tool(&self) -> &'static str {
        self.text(72)
    }
    /// The plan and the step that the call is.
    pub fn plan(&self) -> Option<(&'static str, u32)> {
        if self.number(12) & 1 == 0 {
            return None;
        }
        Some((self.text(80), self.number(24)))
    }
    /// What the filters before this one put on the call.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let (c, table) = (*self, self.number(88) as usize);
        (0..self.number(92) as usize).map(move |i| c.text(table + 8 * i))
    }
    /// Arguments, result or chunk: a JSON object.
    pub fn body(&self) -> &'static [u8] {
        self.bytes(96)
    }
}

/// What a filter answers. A call that nothing is said of passes.
#[derive(Default)]
pub struct Verdict {
    denied: bool,
    reason: Option<String>,
    message: Option<String>,
    labels: Vec<u8>,
    scores: Vec<u8>,
    body: Option<Vec<u8>>,
}

impl Verdict {
    /// Refuses the call: `reason` is of a-z 0-9 _, `message` for people.
    pub fn deny(&mut self, reason: &str, message: &str) {
        self.denied = true;
        self.reason(reason);
        self.message = Some(message.to_string());
    }
    pub fn reason(&mut self, reason: &str) {
        self.reason = Some(reason.to_string());
    }
    /// Adds a label of a-z 0-9 : _ . -
    pub fn label(&mut self, label: &str) {
        separate(&mut self.labels);
        put_string(&mut self.labels, label.as_bytes());
    }
    /// Adds a score from 0 to 1000 under a name of a-z 0-9 _
    pub fn score(&mut self, name: &str, score: u32) {
        separate(&mut self.scores);
        put_string(&mut self.scores, name.as_bytes());
        self.scores.push(b':');
        put_number(&mut self.scores, score);
    }
    /// The call goes on with this JSON object in place of the body.
    pub fn rewrite(&mut self, body: Vec<u8>) {
        self.body = Some(body);
    }

    /// Writes the verdict and returns where it lies; `filter!` does it.
    pub fn answer(self, phase: Phase) -> u64 {
        if !self.denied && self.body.is_none() && self.reason.is_none() && self.labels.is_empty() && self.scores.is_empty() {
            return pointer(b"{\"verdict\":\"pass\"}");
        }
        let verdict = if self.denied { "deny" } else if self.body.is_some() { "rewrite" } else { "pass" };
        let body = if self.denied { None } else { self.body };
        let mut out = Vec::with_capacity(256 + body.as_ref().map_or(0, |b| b.len()));
        member(&mut out, b"{\"verdict\":", Some(verdict));
        member(&mut out, b",\"reason\":", self.reason.as_deref());
        member(&mut out, b",\"message\":", self.message.as_deref());
        members(&mut out, b",\"labels\":[", &self.labels, b']');
        members(&mut out, b",\"scores\":{", &self.scores, b'}');
        if let Some(body) = body {
            out.extend_from_slice(match phase {
                Phase::Request => b",\"arguments\":",
                Phase::Response => b",\"result\":",
                Phase::Chunk => b",\"chunk\":",
            });
            out.extend_from_slice(&body);
        }
        out.push(b'}');
        pointer(out.leak())
    }
}

fn pointer(text: &'static [u8]) -> u64 {
    (text.as_ptr() as u64) << 32 | text.len() as u64
}

fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.push(b',');
    }
}

fn member(out: &mut Vec<u8>, before: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(before);
        put_string(out, value.as_bytes());
    }
}

fn members(out: &mut Vec<u8>, before: &[u8], list: &[u8], after: u8) {
    if !list.is_empty() {
        out.extend_from_slice(before);
        out.extend_from_slice(list);
        out.push(after);
    }
}

fn put_number(out: &mut Vec<u8>, n: u32) {
    if n > 9 {
        put_number(out, n / 10);
    }
    out.push(b'0' + (n % 10) as u8);
}

/// Writes a JSON string with its quotes.
pub fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut done = 0;
    for (i, &c) in text.iter().enumerate() {
        if c >= b' ' && c != b'"' && c != b'\\' {
            continue;
        }
        out.extend_from_slice(&text[done..i]);
        put_escape(out, c);
        done = i + 1;
    }
    out.extend_from_slice(&text[done..]);
    out.push(b'"');
}

#[inline(never)]
fn put_escape(out: &mut Vec<u8>, c: u8) {
    let short = match c {
        b'"' | b'\\' => c,
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let hex = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[hex[(c >> 4) as usize], hex[(c & 15) as usize]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// What a walk through JSON stands at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Key,
    String,
    Number,
}

/// A key, string or number of JSON.
pub struct Scalar<'a> {
    pub kind: Kind,
    /// What it says, with no escapes left.
    pub text: Cow<'a, [u8]>,
    /// Where it stands in the JSON, quotes included.
    pub from: usize,
    pub to: usize,
    /// How many objects and arrays are open around it.
    pub depth: u32,
}

/// Visits the keys, strings and numbers of JSON, in order.
pub struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    depth: u32,
    member: Cow<'a, [u8]>,
}

impl<'a> Walk<'a> {
    pub fn new(json: &'a [u8]) -> Walk<'a> {
        Walk { json, at: 0, depth: 0, member: Cow::Borrowed(b"") }
    }

    /// The key at depth one that the last scalar belongs to.
    pub fn member(&self) -> &[u8] {
        &self.member
    }

    fn number(&mut self) -> Scalar<'a> {
        let from = self.at;
        while self.at < self.json.len() && matches!(self.json[self.at], b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        Scalar { kind: Kind::Number, text: Cow::Borrowed(&self.json[from..self.at]), from, to: self.at, depth: self.depth }
    }

    fn string(&mut self) -> Scalar<'a> {
        let (json, from) = (self.json, self.at);
        let (mut p, mut escaped) = (from + 1, false);
        while p < json.len() && json[p] != b'"' {
            if json[p] == b'\\' {
                escaped = true;
                p += 1;
            }
            p += 1;
        }
        let end = p.min(json.len());
        let raw = &json[from + 1..end];
        let text = if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) };
        self.at = (end + 1).min(json.len());
        let next = json[self.at..].iter().find(|c| !matches!(c, b' ' | b'\n' | b'\t' | b'\r'));
        let kind = if next == Some(&b':') { Kind::Key } else { Kind::String };
        if kind == Kind::Key && self.depth == 1 {
            self.member = text.clone();
        }
        Scalar { kind, text, from, to: self.at, depth: self.depth }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Scalar<'a>;

    fn next(&mut self) -> Option<Scalar<'a>> {
        while self.at < self.json.len() {
            match self.json[self.at] {
                b'"' => return Some(self.string()),
                b'0'..=b'9' | b'-' => return Some(self.number()),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.wrapping_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        None
    }
}

#[inline(never)]
fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut i = 0;
    while i < raw.len() {
        if raw[i] != b'\\' || i + 1 == raw.len() {
            out.push(raw[i]);
            i += 1;
            continue;
        }
        let c = raw[i + 1];
        i += 2;
        match c {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => i = unescape_u(raw, i, &mut out),
            _ => out.push(c),
        }
    }
    out
}

/// Decodes the four digits at `i`, or two such escapes that are one character. The gateway lets no other surrogates through.
fn unescape_u(raw: &[u8], i: usize, out: &mut Vec<u8>) -> usize {
    let (mut r, mut end) = (hex4(raw, i), i + 4);
    if (0xd800..0xdc00).contains(&r) {
        r = 0x10000 + ((r - 0xd800) << 10) + (hex4(raw, i + 6) & 0x3ff);
        end += 6;
    }
    let c = char::from_u32(r).unwrap_or('\u{fffd}');
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    end
}

fn hex4(raw: &[u8], at: usize) -> u32 {
    let digits = raw.get(at..at + 4).unwrap_or(b"");
    digits.iter().fold(0, |v, &c| v << 4 | (c as char).to_digit(16).unwrap_or(0))
}

/// Copies JSON with some of its strings replaced.
pub struct Edit<'a> {
    json: &'a [u8],
    out: Vec<u8>,
    done: usize,
}

impl<'a> Edit<'a> {
    pub fn new(json: &'a [u8]) -> Edit<'a> {
        Edit { json, out: Vec::new(), done: 0 }
    }
    /// What `s` stands for becomes the string `text`.
    pub fn replace(&mut self, s: &Scalar, text: &[u8]) {
        self.out.extend_from_slice(&self.json[self.done..s.from]);
        put_string(&mut self.out, text);
        self.done = s.to;
    }
    pub fn done(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&self.json[self.done..]);
        self.out
    }
}

/// What words are made of, as far as ASCII goes.
pub fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

/// The levels of the filter's log.
#[derive(Clone, Copy)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

/// Writes a line to the filter's log, of which little is kept.
#[inline(never)]
pub fn log(level: Level, text: &str) {
    #[link(wasm_import_module = "gw")]
    extern "C" {
        #[link_name = "log"]
        fn host_log(level: u32, at: *const u8, size: usize);
    }
    unsafe { host_log(level as u32, text.as_ptr(), text.len()) }
}

/// Memory that is handed out in a row and never taken back.
pub struct Heap;

extern "C" {
    static __heap_base: u8; // the first byte behind the stack and the static data; the linker sets it
}

static mut FREE: usize = 0; // the first byte that is free; 0 before the first use

unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        if FREE == 0 {
            FREE = &__heap_base as *const u8 as usize;
        }
        let at = (FREE + l.align() - 1) & !(l.align() - 1);
        let (end, have) = (at as u64 + l.size() as u64, (core::arch::wasm32::memory_size(0) as u64) << 16);
        if end > have && core::arch::wasm32::memory_grow(0, ((end - have + 65535) >> 16) as usize) == usize::MAX {
            return std::ptr::null_mut();
        }
        FREE = end as usize;
        at as *mut u8
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    /// What was handed out last grows where it is.
    unsafe fn realloc(&self, at: *mut u8, l: Layout, size: usize) -> *mut u8 {
        if size <= l.size() {
            return at;
        }
        let last = at as usize + l.size() == FREE;
        if last {
            FREE = at as usize;
        }
        let to = self.alloc(Layout::from_size_align_unchecked(size, l.align()));
        if !to.is_null() && !last {
            std::ptr::copy_nonoverlapping(at, to, l.size());
        }
        to
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

#[no_mangle]
pub extern "C" fn gw_abi_1b() {}

#[no_mangle]
pub extern "C" fn gw_alloc(size: usize) -> *mut u8 {
    unsafe { HEAP.alloc(Layout::from_size_align_unchecked(size, 16)) }
}

/// Makes a filter of its functions:
///
/// ```ignore
/// filter! { request: judge, response: judge, init: configure }
/// ```
///
/// `request` and `response` are `fn(&Context, &mut Verdict)`; `init` takes the filter's configuration, which may be empty, and
/// returns 0, or a code that refuses it: `fn(&[u8]) -> i32`. `response` and `init` may be left out.
#[macro_export]
macro_rules! filter {
    ($($name:ident: $function:path),+ $(,)?) => { $($crate::export!($name, $function);)+ };
}

#[macro_export]
macro_rules! export {
    (request, $function:path) => {
        #[no_mangle]
        pub unsafe extern "C" fn gw_decide(at: *const u8, size: usize) -> u64 {
            $crate::judge!($function, at, size)
        }
    };
    (response, $function:path) => {
        #[no_mangle]
        pub unsafe extern "C" fn gw_on_response(at: *const u8, size: usize) -> u64 {
            $crate::judge!($function, at, size)
        }
    };
    (init, $function:path) => {
        #[no_mangle]
        pub unsafe extern "C" fn gw_init(at: *const u8, size: usize) -> i32 {
            let config: &'static [u8] = if size == 0 { b"" } else { std::slice::from_raw_parts(at, size) };
            $function(config)
        }
    };
}

#[macro_export]
macro_rules! judge {
    ($function:path, $at:ident, $size:ident) => {{
        let c = gatewright::Context::read($at, $size);
        let mut v = gatewright::Verdict::default();
        $function(&c, &mut v);
        v.answer(c.phase())
    }};
}
