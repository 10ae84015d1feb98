#include "gatewright.h"

extern gw_u8 __heap_base; // the first byte behind the stack and the static data; the linker sets it

#define PAGE 65536u
static gw_u8 *heap; // the first byte that is free

__attribute__((export_name("gw_abi_1b"))) void gw_abi_1b(void) {}

static void *take(gw_u32 size) {
    if (!heap) heap = (gw_u8 *)(((gw_u32)&__heap_base + 15u) & ~15u);
    gw_u64 end = (gw_u64)(gw_u32)heap + size + 15 & ~15ull, have = (gw_u64)__builtin_wasm_memory_size(0) * PAGE;
    if (end > have) {
        gw_u64 more = (end - have + PAGE - 1) / PAGE;
        if (more > 65536 || __builtin_wasm_memory_grow(0, (gw_u32)more) == (gw_u32)-1) return 0;
    }
    gw_u8 *at = heap;
    heap = (gw_u8 *)(gw_u32)end;
    return at;
}

__attribute__((export_name("gw_alloc"))) void *gw_alloc(gw_u32 size) { return take(size); }

void *gw_take(gw_u32 size) {
    void *at = take(size);
    if (!at) __builtin_trap();
    return at;
}

static gw_u32 length(const char *s) {
    gw_u32 n = 0;
    while (s[n]) n++;
    return n;
}

static gw_text text_of(const char *s) { return (gw_text){(const gw_u8 *)s, length(s)}; }

// The context, as wasm/README.md lays it out.

static gw_u32 number(const gw_u8 *at) {
    gw_u32 n;
    __builtin_memcpy(&n, at, 4);
    return n;
}

static gw_text span(const gw_u8 *start, const gw_u8 *at) { return (gw_text){start + number(at), number(at + 4)}; }

gw_context gw_read(const gw_u8 *at) {
    return (gw_context){
        .phase = number(at + 4), .now = (gw_i64)((gw_u64)number(at + 20) << 32 | number(at + 16)),
        .tenant = span(at, at + 32), .agent = span(at, at + 40), .user = span(at, at + 48), .op = span(at, at + 56),
        .server = span(at, at + 64), .tool = span(at, at + 72), .in_plan = number(at + 12) & 1, .plan = span(at, at + 80),
        .step = number(at + 24), .labels = number(at + 92), .body = span(at, at + 96), .start = at, .table = at + number(at + 88),
    };
}

gw_text gw_label(const gw_context *c, gw_u32 i) { return span(c->start, c->table + 8 * i); }

// The verdict.

static struct {
    const char *reason, *message;
    int denied, rewritten;
    gw_text body;
    gw_buffer labels, scores;
} verdict;

void gw_reason(const char *reason) { verdict.reason = reason; }

void gw_deny(const char *reason, const char *message) {
    verdict.denied = 1;
    verdict.reason = reason;
    verdict.message = message;
}

void gw_rewrite(gw_text body) {
    verdict.rewritten = 1;
    verdict.body = body;
}

void gw_add_label(const char *label) {
    if (verdict.labels.size) gw_put(&verdict.labels, GW_TEXT(","));
    gw_put_string(&verdict.labels, text_of(label));
}

void gw_add_score(const char *name, gw_u32 score) {
    gw_u8 digits[10];
    gw_u32 n = sizeof digits;
    do digits[--n] = '0' + score % 10;
    while (score /= 10);
    if (verdict.scores.size) gw_put(&verdict.scores, GW_TEXT(","));
    gw_put_string(&verdict.scores, text_of(name));
    gw_put(&verdict.scores, GW_TEXT(":"));
    gw_put(&verdict.scores, (gw_text){digits + n, sizeof digits - n});
}

static gw_u64 pointer(gw_text t) { return (gw_u64)(gw_u32)t.at << 32 | t.size; }

static void member(gw_buffer *b, gw_text before, const char *value) {
    if (!value) return;
    gw_put(b, before);
    gw_put_string(b, text_of(value));
}

static void members(gw_buffer *b, gw_text before, const gw_buffer *list, gw_text after) {
    if (!list->size) return;
    gw_put(b, before);
    gw_put(b, gw_text_of(list));
    gw_put(b, after);
}

gw_u64 gw_answer(const gw_context *c) {
    const char *says = verdict.denied ? "deny" : verdict.rewritten ? "rewrite" : "pass";
    gw_buffer b = {0};
    if (!verdict.denied && !verdict.rewritten && !verdict.reason && !verdict.labels.size && !verdict.scores.size)
        return pointer(GW_TEXT("{\"verdict\":\"pass\"}"));
    member(&b, GW_TEXT("{\"verdict\":"), says);
    member(&b, GW_TEXT(",\"reason\":"), verdict.reason);
    member(&b, GW_TEXT(",\"message\":"), verdict.message);
    members(&b, GW_TEXT(",\"labels\":["), &verdict.labels, GW_TEXT("]"));
    members(&b, GW_TEXT(",\"scores\":{"), &verdict.scores, GW_TEXT("}"));
    if (verdict.rewritten && !verdict.denied) {
        static const char *const names[] = {[GW_REQUEST] = ",\"arguments\":", [GW_RESPONSE] = ",\"result\":", [GW_CHUNK] = ",\"chunk\":"};
        gw_put(&b, text_of(names[c->phase]));
        gw_put(&b, verdict.body);
    }
    gw_put(&b, GW_TEXT("}"));
    return pointer(gw_text_of(&b));
}

__attribute__((import_module("gw"), import_name("log"))) void gw_host_log(int level, const gw_u8 *at, gw_u32 size);

void gw_log(int level, gw_text text) { gw_host_log(level, text.at, text.size); }

// Buffers.

static void room(gw_buffer *b, gw_u32 more) {
    if (b->room - b->size >= more) return;
    gw_u32 want = (b->size + more) * 2 > 256 ? (b->size + more) * 2 : 256;
    gw_u8 *at = gw_take(want);
    __builtin_memcpy(at, b->at, b->size);
    b->at = at;
    b->room = want;
}

void gw_put(gw_buffer *b, gw_text text) {
    room(b, text.size);
    __builtin_memcpy(b->at + b->size, text.at, text.size);
    b->size += text.size;
}

__attribute__((noinline)) static void put_escape(gw_buffer *b, gw_u8 c) {
    static const char hex[] = "0123456789abcdef", plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    gw_u8 e[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    for (gw_u32 i = 0; i < sizeof plain - 1; i++)
        if (c == (gw_u8)plain[i]) {
            e[1] = letters[i];
            gw_put(b, (gw_text){e, 2});
            return;
        }
    gw_put(b, (gw_text){e, 6});
}

void gw_put_string(gw_buffer *b, gw_text text) {
    gw_u32 done = 0;
    gw_put(b, GW_TEXT("\""));
    for (gw_u32 i = 0; i < text.size; i++) {
        gw_u8 c = text.at[i];
        if (c >= ' ' && c != '"' && c != '\\') continue;
        gw_put(b, (gw_text){text.at + done, i - done});
        put_escape(b, c);
        done = i + 1;
    }
    gw_put(b, (gw_text){text.at + done, text.size - done});
    gw_put(b, GW_TEXT("\""));
}

// JSON.

static gw_u32 hex4(const gw_u8 *p) {
    gw_u32 v = 0;
    for (gw_u32 i = 0; i < 4; i++) v = v << 4 | (p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v & 0xffff;
}

static gw_u8 *put_rune(gw_u8 *out, gw_u32 r) {
    if (r < 0x80) return *out = r, out + 1;
    if (r < 0x800) return out[0] = 0xc0 | r >> 6, out[1] = 0x80 | (r & 63), out + 2;
    if (r < 0x10000) return out[0] = 0xe0 | r >> 12, out[1] = 0x80 | (r >> 6 & 63), out[2] = 0x80 | (r & 63), out + 3;
    out[0] = 0xf0 | r >> 18, out[1] = 0x80 | (r >> 12 & 63), out[2] = 0x80 | (r >> 6 & 63), out[3] = 0x80 | (r & 63);
    return out + 4;
}

// unescape decodes the \uXXXX at p, or two of them that are one character. The gateway lets no other surrogates through.
static const gw_u8 *unescape_u(const gw_u8 *p, const gw_u8 *end, gw_u8 **out) {
    if (end - p < 6) return end;
    gw_u32 r = hex4(p + 2);
    p += 6;
    if (r >= 0xd800 && r < 0xdc00 && end - p >= 6) {
        r = 0x10000 + ((r - 0xd800) << 10) + (hex4(p + 2) & 0x3ff);
        p += 6;
    }
    *out = put_rune(*out, r);
    return p;
}

// unescape returns what a string's text says. Escapes are longer than what they stand for.
__attribute__((noinline)) static gw_text unescape(const gw_u8 *p, const gw_u8 *end) {
    gw_u8 *out = gw_take(end - p), *to = out;
    while (p < end) {
        gw_u8 c = *p;
        if (c != '\\' || end - p < 2) {
            *to++ = c;
            p++;
            continue;
        }
        c = p[1];
        if (c == 'u') {
            p = unescape_u(p, end, &to);
            continue;
        }
        *to++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
        p += 2;
    }
    return (gw_text){out, to - out};
}

gw_walk gw_walk_of(gw_text json) { return (gw_walk){.start = json.at, .p = json.at, .end = json.at + json.size}; }

static int is_number(gw_u8 c) { return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'; }

static void walk_number(gw_walk *w) {
    const gw_u8 *from = w->p;
    while (w->p < w->end && is_number(*w->p)) w->p++;
    w->kind = GW_NUMBER;
    w->text = (gw_text){from, w->p - from};
    w->from = from - w->start;
    w->to = w->p - w->start;
}

static void walk_string(gw_walk *w) {
    const gw_u8 *from = w->p + 1, *p = from;
    int escaped = 0;
    for (; p < w->end && *p != '"'; p++)
        if (*p == '\\') escaped = 1, p++;
    if (p > w->end) p = w->end;
    w->text = escaped ? unescape(from, p) : (gw_text){from, p - from};
    w->p = p < w->end ? p + 1 : p;
    w->from = from - 1 - w->start;
    w->to = w->p - w->start;
    const gw_u8 *next = w->p;
    while (next < w->end && (*next == ' ' || *next == '\n' || *next == '\t' || *next == '\r')) next++;
    w->kind = next < w->end && *next == ':' ? GW_KEY : GW_STRING;
    if (w->kind == GW_KEY && w->depth == 1) w->member = w->text;
}

int gw_next(gw_walk *w) {
    for (; w->p < w->end; w->p++) {
        gw_u8 c = *w->p;
        if (c == '"') return walk_string(w), 1;
        if ((c >= '0' && c <= '9') || c == '-') return walk_number(w), 1;
        if (c == '{' || c == '[') w->depth++;
        if (c == '}' || c == ']') w->depth--;
    }
    return 0;
}

gw_edit gw_edit_of(gw_text json) { return (gw_edit){.json = json}; }

void gw_replace(gw_edit *e, const gw_walk *w, gw_text text) {
    gw_put(&e->out, (gw_text){e->json.at + e->done, w->from - e->done});
    gw_put_string(&e->out, text);
    e->done = w->to;
}

gw_text gw_edited(gw_edit *e) {
    gw_put(&e->out, (gw_text){e->json.at + e->done, e->json.size - e->done});
    return gw_text_of(&e->out);
}

// Texts.

int gw_same(gw_text a, const char *b) { return a.size == length(b) && gw_begins(a, 0, b); }

int gw_begins(gw_text t, gw_u32 at, const char *with) {
    for (; *with; with++, at++)
        if (at >= t.size || t.at[at] != (gw_u8)*with) return 0;
    return 1;
}
