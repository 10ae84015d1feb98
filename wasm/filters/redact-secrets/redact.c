// redact-secrets replaces secrets in the strings of a call's arguments and results by [redacted:KIND] and labels the call
// secret:KIND. Its configuration is optional: {"deny":true} refuses calls with secrets, {"kinds":["aws-key",...]} looks
// for these kinds only. Keys and numbers cannot be replaced: calls with secrets in keys, and with card numbers that are
// numbers, are refused.
#include "find.h"

static const char *const names[KINDS] = {
    [PRIVATE_KEY] = "private-key", [AWS] = "aws-key", [GITHUB] = "github-token", [GITLAB] = "gitlab-token",
    [SLACK] = "slack-token", [STRIPE] = "stripe-key", [OPENAI] = "openai-key", [ANTHROPIC] = "anthropic-key",
    [GOOGLE] = "google-key", [GATEWRIGHT] = "gatewright-key", [JWT] = "jwt", [BEARER] = "bearer-token", [CARD] = "card-number",
    [PASSWORD] = "password",
};

// The configuration.
static u32 wanted = (1u << KINDS) - 1; // kinds, as bits
static int deny;

// What one call has shown. Cuts are offsets into the input, in order.
#define MOST_CUTS 1024
static const u8 *input;
static struct cut {
    u32 from, to;
    enum kind kind;
} cuts[MOST_CUTS];
static u32 count;    // of cuts
static u32 too_many; // cuts had no room for one
static u32 shown;    // kinds that were found, as bits
static int in_key;   // what is reported stands in a key
static int key_held; // a key held a secret
static int number_held; // a number is that of a card
static const u8 *named; // the opening quote of the next string that a secret's name is set to
static int listed;      // which stands in an array

// While find_secrets looks through a string, its cuts count from the start of the string's text.
static u32 first; // of these cuts

static u32 length(const char *s) {
    u32 n = 0;
    while (s[n]) n++;
    return n;
}

// put keeps a string's cuts in order and apart. Of two that meet, the one of the more specific kind gives its name to both.
RARE static void put(struct cut c) {
    u32 i = count;
    while (i > first && cuts[i - 1].to > c.from) i--;
    u32 j = i;
    for (; j < count && cuts[j].from < c.to; j++) {
        if (cuts[j].from < c.from) c.from = cuts[j].from;
        if (cuts[j].to > c.to) c.to = cuts[j].to;
        if (cuts[j].kind < c.kind) c.kind = cuts[j].kind;
    }
    if (i == j) {
        if (count == MOST_CUTS) {
            too_many = 1;
            return;
        }
        for (u32 k = count++; k > i; k--) cuts[k] = cuts[k - 1];
    } else {
        for (u32 k = j; k < count; k++) cuts[k - (j - i - 1)] = cuts[k];
        count -= j - i - 1;
    }
    cuts[i] = c;
}

static u32 hex4(const u8 *p) {
    u32 v = 0;
    for (u32 i = 0; i < 4; i++) v = v << 4 | (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

// unescape_u decodes \uXXXX, or two of them that are one character, like unescape.
RARE static u32 unescape_u(const u8 *p, u8 *out, u32 *n) {
    u32 c = hex4(p + 2), size = 6;
    if (c >= 0xd800 && c < 0xdc00) {
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(p + 8) - 0xdc00);
        size = 12;
    }
    if (c < 0x80) {
        out[0] = (u8)c, *n = 1;
    } else if (c < 0x800) {
        out[0] = 0xc0 | c >> 6, out[1] = 0x80 | (c & 63), *n = 2;
    } else if (c < 0x10000) {
        out[0] = 0xe0 | c >> 12, out[1] = 0x80 | (c >> 6 & 63), out[2] = 0x80 | (c & 63), *n = 3;
    } else {
        out[0] = 0xf0 | c >> 18, out[1] = 0x80 | (c >> 12 & 63), out[2] = 0x80 | (c >> 6 & 63), out[3] = 0x80 | (c & 63), *n = 4;
    }
    return size;
}

// unescape decodes the escape sequence at p into out, which has room for four bytes. It returns the length of the
// sequence and sets *n to the number of bytes decoded.
RARE static u32 unescape(const u8 *p, u8 *out, u32 *n) {
    u8 c = p[1];
    switch (c) {
    case 'u': return unescape_u(p, out, n);
    case 'b': c = '\b'; break;
    case 'f': c = '\f'; break;
    case 'n': c = '\n'; break;
    case 'r': c = '\r'; break;
    case 't': c = '\t'; break;
    }
    *out = c;
    *n = 1;
    return 2;
}

// quote_or_escape returns the position of the next '"' or '\\' at or behind p.
static const u8 *quote_or_escape(const u8 *p) {
    for (;; p += 8) {
        u64 x = load8(p), marks = equals(x, '"') | equals(x, '\\');
        if (marks) return p + first_of(marks);
    }
}

int report(enum kind kind, u32 from, u32 to) {
    if (wanted >> kind & 1) {
        shown |= 1u << kind;
        if (in_key) key_held = 1;
        else put((struct cut){from, to, kind});
    }
    return !too_many;
}

// raw returns where the byte at `want` of a decoded text stands, if the text at *decoded stands at p, and moves *decoded
// there.
RARE static const u8 *raw(const u8 *p, u32 want, u32 *decoded) {
    while (*decoded < want) {
        const u8 *next = quote_or_escape(p);
        u8 out[4];
        u32 plain = (u32)(next - p), n;
        if (plain > want - *decoded) plain = want - *decoded;
        *decoded += plain;
        p += plain;
        if (*decoded < want) {
            p += unescape(p, out, &n);
            *decoded += n;
        }
    }
    return p;
}

// place moves a string's cuts to where the string stands. p is its text as it stands in the input; escaped is whether cuts
// count decoded bytes.
RARE static void place(const u8 *p, int escaped) {
    u32 base = (u32)(p - input), decoded = 0;
    for (struct cut *c = cuts + first; c < cuts + count; c++) {
        if (escaped) {
            p = raw(p, c->from, &decoded);
            c->from = (u32)(p - input);
            p = raw(p, c->to, &decoded);
            c->to = (u32)(p - input);
        } else {
            c->from += base;
            c->to += base;
        }
    }
    first = count;
}

// decode writes the text of the string whose first escape is at p behind what it begins with, and returns the end of the
// text. *p becomes the position of the closing quote.
RARE static u8 *decode(const u8 *from, const u8 **p, u8 *out) {
    const u8 *q = *p;
    for (;;) {
        for (; from < q; from += 8, out += 8) store8(out, load8(from));
        out -= from - q;
        if (*q == '"') break;
        u32 n;
        from = q + unescape(q, out, &n);
        out += n;
        q = quote_or_escape(from);
    }
    *p = q;
    return out;
}

#define SHORTEST 8 // bytes of the shortest text with a secret: pwd=abcd

static const u8 *blank_end(const u8 *p) {
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') p++;
    return p;
}

// key looks through a key, and at what it names: the string, or the strings of the array, behind the colon.
RARE static void key(const u8 *text, u32 n, const u8 *colon) {
    if (n >= SHORTEST) {
        in_key = 1;
        find_secrets(text, n);
        in_key = 0;
    }
    if (!secret_name(text, n)) return;
    named = blank_end(colon + 1);
    listed = *named == '[';
    if (listed) named = blank_end(named + 1);
}

#define SHORTEST_VALUE 6 // bytes of what the name of a secret is set to

// value takes the text of n bytes for a secret that its name tells. It ends before `next`.
RARE static void value(const u8 *text, u32 n, const u8 *next) {
    named = listed && *next == ',' ? blank_end(next + 1) : 0;
    if (n >= SHORTEST_VALUE && !stand_in(text, n)) report(PASSWORD, 0, n);
}

// string looks through the string whose opening quote is at p and returns the position behind its closing quote.
static const u8 *string(const u8 *p, u8 *scratch) {
    const u8 *from = p + 1, *q = quote_or_escape(from), *text = from;
    u32 n = (u32)(q - from);
    int escaped = *q == '\\';
    if (escaped) {
        n = (u32)(decode(from, &q, scratch) - scratch);
        text = scratch;
    }
    const u8 *next = blank_end(q + 1);
    if (*next == ':') {
        if (n >= 3) key(text, n, next);
        return next;
    }
    if (n >= SHORTEST) find_secrets(text, n);
    if (p == named) value(text, n, next);
    if (count > first) place(from, escaped);
    return next;
}

// numbers looks for those of cards from p to `to`, where no strings are.
RARE static void numbers(const u8 *p, const u8 *to) {
    if (!(wanted >> CARD & 1)) return;
    while (p < to) {
        const u8 *q = p;
        while (q < to && (*q - '0' < 10u || *q == '.' || *q == '+' || (*q | 0x20) == 'e')) q++;
        if (q - p >= 14 && card_value(p, q)) {
            number_held = 1;
            shown |= 1u << CARD;
        }
        p = q + 1;
    }
}

#define SHORTEST_GAP 15 // bytes between two strings that hold a card number, and what stands before it

// look looks through all strings and numbers from p to end.
static void look(const u8 *p, const u8 *end, u8 *scratch) {
    const u8 *gap = p;
    while (p < end && !too_many) {
        u64 marks = equals(load8(p), '"');
        if (!marks) {
            p += 8;
            continue;
        }
        p += first_of(marks);
        if (p >= end) break;
        if (p - gap >= SHORTEST_GAP) numbers(gap, p);
        gap = p = string(p, scratch);
    }
    if (end - gap >= SHORTEST_GAP) numbers(gap, end);
}

// The answer, written behind the input and the decoded string.
static u8 *out;

static void add(const void *from, u32 n) {
    const u8 *p = from;
    __builtin_memcpy(out, p, n);
    out += n;
}

static void say(const char *s) { add(s, length(s)); }

// labels writes what was found.
static void labels(void) {
    const char *before = ",\"labels\":[";
    for (u32 k = 0; k < KINDS; k++) {
        if (!(shown >> k & 1)) continue;
        say(before);
        say("\"secret:");
        say(names[k]);
        say("\"");
        before = ",";
    }
    if (shown) say("]");
}

#define MOST_GROWTH 12288 // bytes that an answer may be longer than the input: below the host's bound for verdicts

// rewrite writes the member of input from `name` on, without what was cut.
static void rewrite(const u8 *name, const u8 *end) {
    say("{\"verdict\":\"rewrite\"");
    labels();
    say(",");
    const u8 *p = name;
    for (u32 i = 0; i < count; i++) {
        add(p, (u32)(input + cuts[i].from - p));
        say("[redacted:");
        say(names[cuts[i].kind]);
        say("]");
        p = input + cuts[i].to;
    }
    add(p, (u32)(end - p));
    say("}");
}

// growth is by how many bytes a rewrite is longer than what it replaces; negative when it is shorter.
static int growth(void) {
    int n = 0;
    for (u32 i = 0; i < count; i++) n += (int)(11 + length(names[cuts[i].kind])) - (int)(cuts[i].to - cuts[i].from);
    return n;
}

static void refuse(const char *reason, const char *message) {
    say("{\"verdict\":\"deny\",\"reason\":\"");
    say(reason);
    say("\",\"message\":\"");
    say(message);
    say("\"");
    labels();
    say("}");
}

// body returns the last member of the context, which is what is to be looked through, from its name on; 0 when it is no
// object. Neither name can stand elsewhere with its quotes: within a string they are escaped, and the members before, which
// the host writes without blanks, have other names.
static const u8 *body(const u8 *p, const u8 *end) {
    for (const u8 *q = p; q < end;) {
        u64 open = equals(load8(q), '{');
        if (!open) {
            q += 8;
            continue;
        }
        q += first_of(open) + 1;
        if (q - p >= 13 && q <= end && same(q - 13, "\"arguments\":{", 13)) return q - 13;
        if (q - p >= 10 && q <= end && same(q - 10, "\"result\":{", 10)) return q - 10;
    }
    return 0;
}

static u64 answer(const void *from, u32 n) { return (u64)(u32)from << 32 | n; }

static u64 judge(const u8 *p, u32 n) {
    static const char pass[] = "{\"verdict\":\"pass\"}";
    static const char large[] = "{\"verdict\":\"deny\",\"reason\":\"too_large\",\"message\":\"the call is too large to be looked through\"}";
    const u8 *end = p + n, *name = body(p, end);
    first = count = shown = too_many = 0;
    key_held = number_held = 0;
    named = 0;
    input = p;
    if (!name) return answer(pass, sizeof(pass) - 1);
    u8 *scratch = (u8 *)(((u32)end + 32 + 15) & ~15u); // for decoded strings, and then for the answer
    if (!reserve((u64)(u32)scratch + n)) return answer(large, sizeof(large) - 1);
    __builtin_memset(scratch - 16, 0, 16); // what stands before a decoded string is no letter
    const u8 *open = name;
    while (*open != '{') open++;
    look(open, end, scratch);
    if (!shown) return answer(pass, sizeof(pass) - 1);
    int more = growth();
    out = scratch;
    if (deny) refuse("secret_found", "the call holds what looks like a secret");
    else if (key_held) refuse("secret_in_key", "a key of the call holds what looks like a secret");
    else if (number_held) refuse("card_number", "the call holds a number that looks like that of a card");
    else if (too_many || more > MOST_GROWTH) refuse("too_many_secrets", "the call holds more secrets than can be replaced");
    else if (!reserve((u64)(u32)scratch + n + 1024 + MOST_GROWTH)) return answer(large, sizeof(large) - 1);
    else rewrite(name, end - 1);
    return answer(scratch, (u32)(out - scratch));
}

EXPORT(gw_abi_1) void gw_abi_1(void) {}

// gw_alloc has one piece of memory to give, which the next call gets again.
EXPORT(gw_alloc) u32 gw_alloc(u32 n) { return reserve((u64)heap_base() + n) ? heap_base() : 0; }

EXPORT(gw_decide) u64 gw_decide(const u8 *p, u32 n) { return judge(p, n); }
EXPORT(gw_on_response) u64 gw_on_response(const u8 *p, u32 n) { return judge(p, n); }

// What is read of the configuration, and where it ends.
static const u8 *next, *stop;

// stands reports whether n bytes of a literal stand next.
static int stands(const char *literal, u32 n) { return (u32)(stop - next) >= n && same(next, literal, n); }

// take steps over a literal and the blanks around it, if it stands next.
#define take(literal) take_(literal, sizeof(literal) - 1)
static void blanks(void) {
    while (next < stop && (*next == ' ' || *next == '\n' || *next == '\r' || *next == '\t')) next++;
}

static int take_(const char *literal, u32 n) {
    blanks();
    if (!stands(literal, n)) return 0;
    next += n;
    blanks();
    return 1;
}

// kind reads the name of a kind and returns it; KINDS when there is none of that name.
static u32 kind(void) {
    u32 k = 0;
    if (!take("\"")) return KINDS;
    for (; k < KINDS; k++) {
        u32 n = length(names[k]);
        if (stands(names[k], n) && (u32)(stop - next) > n && next[n] == '"') {
            next += n + 1;
            break;
        }
    }
    return k;
}

static int kinds(void) {
    wanted = 0;
    if (!take("[")) return 0;
    do {
        u32 k = kind();
        if (k == KINDS) return 0;
        wanted |= 1u << k;
    } while (take(","));
    return take("]");
}

static int member(void) {
    if (take("\"kinds\"")) return take(":") && kinds();
    if (!take("\"deny\"") || !take(":")) return 0;
    deny = take("true");
    return deny || take("false");
}

// gw_init reads {"deny":BOOL,"kinds":["NAME",...]}, both optional, and refuses whatever else it is shown.
EXPORT(gw_init) u32 gw_init(const u8 *p, u32 n) {
    next = p;
    stop = p + n;
    blanks();
    if (next == stop) return 0;
    if (!take("{")) return 1;
    if (!take("}")) {
        do {
            if (!member()) return 2;
        } while (take(","));
        if (!take("}")) return 1;
    }
    return next == stop ? 0 : 1;
}
