// find_secrets reads text eight bytes at a time and looks closer only where a secret could be: at a word of eight bytes
// without a separator, since every token is a run of at least 16 such bytes; and at digits, '=' and ':', which share their
// upper four bits.
#include "find.h"

static inline int digit(u8 c) { return c - '0' < 10u; }
static inline int upper(u8 c) { return c - 'A' < 26u; }
static inline int alnum(u8 c) { return digit(c) || (c | 0x20) - 'a' < 26u; }
static inline int token(u8 c) { return alnum(c) || c == '_' || c == '-'; }

// The same of eight bytes. Bearer tokens and base64 are made of `longs`.
static inline u64 alnums(u64 x) {
    u64 ascii = x & ~HIGHS;
    return (between(ascii, '0', '9') | between(ascii | ONES * 0x20, 'a', 'z')) & ~x;
}
static inline u64 tokens(u64 x) {
    u64 ascii = x & ~HIGHS;
    return alnums(x) | ((between(ascii, '-', '-') | between(ascii, '_', '_')) & ~x);
}
static inline u64 longs(u64 x) {
    u64 ascii = x & ~HIGHS;
    return alnums(x) | (((between(ascii, '+', '/') & ~between(ascii, ',', ',')) | between(ascii, '=', '=') | between(ascii, '_', '_') |
                         between(ascii, '~', '~')) & ~x);
}

static inline u8 lower(u8 c) { return c | 0x20; }

// The text that is being looked through.
static const u8 *text, *end;

static inline void found(enum kind kind, const u8 *from, const u8 *to) { report(kind, (u32)(from - text), (u32)(to - text)); }

// Each of these returns the end of the run of one class that begins at p.
#define SPAN(name, mask)                                                                                                         \
    static const u8 *name(const u8 *p) {                                                                                         \
        for (; p < end; p += 8) {                                                                                                \
            u64 others = ~mask(load8(p)) & HIGHS;                                                                                \
            if (!others) continue;                                                                                               \
            p += first_of(others);                                                                                               \
            break;                                                                                                               \
        }                                                                                                                        \
        return p < end ? p : end;                                                                                                \
    }
RARE SPAN(alnum_end, alnums)
RARE SPAN(token_run, tokens)
RARE SPAN(long_end, longs)

// token_end is token_run with its last answer remembered: a run may hold many prefixes, and is walked once.
static const u8 *token_from, *token_to;

static const u8 *token_end(const u8 *p) {
    if (p < token_from || p >= token_to) {
        token_from = p;
        token_to = token_run(p);
    }
    return token_to;
}

// keyed reports a token of a fixed prefix that ends at `to`, if it is at least so long, and returns its end.
static const u8 *keyed(enum kind kind, const u8 *p, const u8 *to, int least) {
    if (to - p < least) return 0;
    found(kind, p, to);
    return to;
}

// mixed reports whether the first 64 bytes of a text have digits and letters of both cases, as random tokens of 20 bytes nearly always do and
// words with hyphens do not.
static int mixed(const u8 *p, const u8 *to) {
    u32 digits = 0, up = 0, low = 0;
    if (to - p > 64) to = p + 64;
    for (; p < to; p++) {
        digits |= digit(*p);
        up |= upper(*p);
        low |= upper(*p ^ 0x20);
    }
    return digits && up && low;
}

static const u8 *aws(const u8 *p) {
    const u8 *to = p + 20;
    if (!starts(p + 1, end, "KIA") && !starts(p + 1, end, "SIA")) return 0;
    if (to > end || (to < end && token(*to))) return 0;
    for (const u8 *q = p; q < to; q++)
        if (!digit(*q) && !upper(*q)) return 0;
    found(AWS, p, to);
    return to;
}

static const u8 *google(const u8 *p) {
    if (starts(p, end, "AIza")) return keyed(GOOGLE, p, token_end(p), 39);
    if (starts(p, end, "GOCSPX-")) return keyed(GOOGLE, p, token_end(p), 27);
    if (starts(p, end, "ya29.")) return keyed(GOOGLE, p, token_end(p), 25);
    return 0;
}

static const u8 *git(const u8 *p) {
    if (starts(p, end, "github_pat_")) return keyed(GITHUB, p, token_end(p), 33);
    if (end - p > 4 && p[1] == 'h' && p[3] == '_' && (p[2] == 'p' || p[2] == 'o' || p[2] == 'u' || p[2] == 's' || p[2] == 'r'))
        return keyed(GITHUB, p, alnum_end(p + 4), 40);
    if (starts(p, end, "glpat-") || starts(p, end, "glptt-") || starts(p, end, "glcbt-") || starts(p, end, "gldt-") ||
        starts(p, end, "glrt-") || starts(p, end, "glsoat-"))
        return keyed(GITLAB, p, token_end(p), 25);
    return 0;
}

static const u8 *slack(const u8 *p) {
    if (starts(p, end, "xapp-")) return keyed(SLACK, p, token_end(p), 25);
    if (end - p > 5 && p[1] == 'o' && p[2] == 'x' && p[4] == '-' &&
        (p[3] == 'a' || p[3] == 'b' || p[3] == 'e' || p[3] == 'o' || p[3] == 'p' || p[3] == 'r' || p[3] == 's'))
        return keyed(SLACK, p, token_end(p), 21);
    return 0;
}

static const u8 *sk(const u8 *p) {
    if (starts(p, end, "sk_live_") || starts(p, end, "sk_test_") || starts(p, end, "rk_live_") || starts(p, end, "rk_test_"))
        return keyed(STRIPE, p, alnum_end(p + 8), 24);
    if (starts(p, end, "sk-ant-")) return keyed(ANTHROPIC, p, token_end(p), 27);
    if (!starts(p, end, "sk-")) return 0;
    const u8 *to = token_end(p);
    if (to - p < 23 || !mixed(p + 3, to)) return 0;
    found(OPENAI, p, to);
    return to;
}

// jwt reports three parts of base64url, the first two of which begin like JSON objects.
static const u8 *jwt(const u8 *p) {
    if (!starts(p, end, "eyJ")) return 0;
    const u8 *head = token_end(p);
    if (head - p < 16 || !starts(head, end, ".eyJ")) return 0;
    const u8 *body = token_run(head + 1);
    if (body == end || *body != '.') return 0;
    const u8 *to = token_run(body + 1);
    found(JWT, p, to);
    return to;
}

// leads reports whether a prefix begins with c.
static inline int leads(u8 c) {
    switch (c) {
    case 'A': case 'G': case 'a': case 'e': case 'g': case 'r': case 's': case 'w': case 'x': case 'y':
        return 1;
    }
    return 0;
}

// prefixed looks for a token at p, where a word begins, and returns its end.
RARE static const u8 *prefixed(const u8 *p) {
    switch (*p) {
    case 'A': {
        const u8 *to = aws(p);
        return to ? to : google(p);
    }
    case 'G':
    case 'y':
        return google(p);
    case 'a':
        if (starts(p, end, "ak_live_") || starts(p, end, "ak_test_")) return keyed(GATEWRIGHT, p, token_end(p), 24);
        return 0;
    case 'e':
        return jwt(p);
    case 'g':
        return git(p);
    case 'r':
    case 's':
        return sk(p);
    case 'w':
        return starts(p, end, "whsec_") ? keyed(STRIPE, p, long_end(p), 30) : 0;
    case 'x':
        return slack(p);
    }
    return 0;
}

// bearer reports the run from p to `to` when "Bearer " stands before it.
RARE static void bearer(const u8 *p, const u8 *to) {
    if (p - text < 7 || p[-1] != ' ' || to - p < 16) return;
    const u8 *w = p - 7;
    if (lower(w[0]) == 'b' && lower(w[1]) == 'e' && lower(w[2]) == 'a' && lower(w[3]) == 'r' && lower(w[4]) == 'e' &&
        lower(w[5]) == 'r' && (w == text || !alnum(w[-1])))
        found(BEARER, p, to);
}

// keys reports blocks from "-----BEGIN ... PRIVATE KEY" to the hyphens that end them. Every fifth byte is enough to find
// five hyphens.
RARE static void keys(void) {
    u32 tries = 64; // more heads without a key are no keys
    for (const u8 *p = text + 4; p < end && tries; p += 5) {
        if (*p != '-') continue;
        while (p < end && *p == '-') p++;
        const u8 *b = p - 5;
        if (b < text || !starts(b, end, "-----BEGIN ")) continue;
        tries--;
        const u8 *q = b + 11;
        while (q < end && q - b < 64 && !starts(q, end, "PRIVATE KEY")) q++;
        if (!starts(q, end, "PRIVATE KEY")) continue;
        while (q < end && !starts(q, end, "-----END ")) q++;
        if (q < end) q += 9;
        while (q < end && *q != '-' && *q != '\n') q++;
        while (q < end && *q == '-') q++;
        found(PRIVATE_KEY, b, q);
        p = q;
    }
}

// What the text has shown so far.
static int looked_for_keys; // keys has run
static const u8 *done;      // before it all runs have been looked at

// separators is not zero when one of eight bytes cannot be part of a run: it lies below '+' or beyond ASCII.
static inline u64 separators(u64 x) { return ((x - ONES * '+') | x) & HIGHS; }

// long_from returns where the run of longs that ends at p begins, but not before `done`.
static const u8 *long_from(const u8 *p) {
    while (p - done >= 8) {
        u64 others = ~longs(load8(p - 8)) & HIGHS;
        if (others) return p - (__builtin_clzll(others) >> 3);
        p -= 8;
    }
    while (p > done && (token(p[-1]) || longs(p[-1]) & 0x80)) p--;
    return p;
}

// prefixes looks for tokens that begin between `from` and `to`, where a word begins, and reports whether there is any.
static int prefixes(const u8 *from, const u8 *to) {
    const u8 *past = from; // before it everything is reported
    u64 before = from > text && alnum(from[-1]) ? 0x80 : 0;
    for (const u8 *p = from; p < to; p += 8) {
        u64 words = alnums(load8(p)), begin = words & ~(words << 8 | before);
        for (before = words >> 56; begin; begin &= begin - 1) {
            const u8 *q = p + first_of(begin);
            if (q < past || q >= to || !leads(*q)) continue;
            q = prefixed(q);
            if (q) past = q;
        }
    }
    return past > from;
}

// run looks at the run of longs that goes through the eight bytes at p, if there is one.
RARE static void run(const u8 *p) {
    if (p < done || ~longs(load8(p)) & HIGHS) return;
    const u8 *from = long_from(p), *to = long_end(p + 8);
    done = to;
    if (to - from < 16) return;
    if (to - from >= 32 && !looked_for_keys) {
        looked_for_keys = 1;
        keys();
    }
    if (!prefixes(from, to)) bearer(from, to);
}

// luhn checks the last digit of a card's number, and card_number that some issuer gives out such numbers.
static int luhn(const u8 *d, u32 n) {
    u32 sum = 0;
    for (u32 i = 0; i < n; i++) {
        u32 v = d[n - 1 - i];
        if (i & 1) v = v > 4 ? 2 * v - 9 : 2 * v;
        sum += v;
    }
    return sum % 10 == 0;
}

static int card_number(const u8 *d, u32 n) {
    u32 two = d[0] * 10 + d[1], four = two * 100 + d[2] * 10 + d[3];
    int known;
    switch (n) {
    case 14: // Diners Club
        known = two == 36 || two == 38 || (four >= 3000 && four < 3060);
        break;
    case 15: // American Express
        known = two == 34 || two == 37;
        break;
    case 16: // Visa, Mastercard, Discover, JCB, UnionPay
        known = d[0] == 4 || (two >= 51 && two <= 55) || (four >= 2221 && four <= 2720) || four == 6011 || two == 65 ||
                (four >= 6440 && four < 6500) || (four >= 3528 && four <= 3589) || two == 62;
        break;
    case 19: // Visa, UnionPay
        known = d[0] == 4 || two == 62;
        break;
    default:
        known = 0;
    }
    return known && luhn(d, n);
}

// four reports whether four bytes are digits.
static inline int four(u32 x) {
    return (((x & 0xf0f0f0f0u) ^ 0x30303030u) | (((x + 0x06060606u) & 0xf0f0f0f0u) ^ 0x30303030u)) == 0;
}

// grouped returns the end of a card's number at p that is written in groups, as 4-4-4-4, 4-6-5 or 4-6-4, or 0.
static const u8 *grouped(const u8 *p) {
    u8 by = p[4];
    if ((by != ' ' && by != '-') || end - p < 16 || !four(load4(p + 5))) return 0;
    if (p[9] == by) return end - p >= 19 && four(load4(p + 10)) && p[14] == by && four(load4(p + 15)) ? p + 19 : 0;
    if (!digit(p[9]) || !digit(p[10]) || p[11] != by || !four(load4(p + 12))) return 0;
    return end - p > 16 && digit(p[16]) ? p + 17 : p + 16;
}

// card looks at the number whose first four digits stand at p.
RARE static void card(const u8 *p) {
    if (end - p < 14) return;
    if (p > text && (token(p[-1]) || p[-1] == '.' || p[-1] == '/' || p[-1] == '+')) return;
    const u8 *to = digit(p[4]) ? alnum_end(p) : grouped(p);
    if (!to || to - p > 19 + 4 || (to < end && token(*to)) || (end - to > 1 && *to == '.' && digit(to[1]))) return;
    u8 digits[24];
    u32 n = 0;
    for (const u8 *q = p; q < to; q++)
        if (digit(*q)) digits[n++] = *q - '0';
        else if (alnum(*q)) return;
    if (card_number(digits, n)) found(CARD, p, to);
}

// ends reports whether the word from w to q ends with a literal in lower case, whatever its own case.
#define ends(w, q, literal) ends_with(w, q, literal, sizeof(literal) - 1)
static int ends_with(const u8 *w, const u8 *q, const char *literal, u32 n) {
    if ((u32)(q - w) < n) return 0;
    for (u32 i = 0; i < n; i++)
        if (lower(q[(int)i - (int)n]) != (u8)literal[i]) return 0;
    return 1;
}

// secrecy says how surely a name stands for a secret: 2 when whatever it is set to is one, 1 when only what looks random
// is.
static int secrecy(const u8 *w, const u8 *q) {
    switch (lower(q[-1])) {
    case 'd':
        return ends(w, q, "password") || ends(w, q, "passwd") || ends(w, q, "pwd") ? 2 : 0;
    case 'e':
        return ends(w, q, "passphrase") ? 2 : 0;
    case 't':
        return ends(w, q, "secret");
    case 'y':
        return ends(w, q, "apikey") || ends(w, q, "accesskey") || ends(w, q, "secretkey") || ends(w, q, "privatekey") ||
               (ends(w, q, "key") && q - w > 4 && !alnum(q[-4]) &&
                (ends(w, q - 4, "api") || ends(w, q - 4, "access") || ends(w, q - 4, "secret") || ends(w, q - 4, "private")));
    case 'n':
        if (!ends(w, q, "token")) return 0;
        for (const u8 *r = w + 4; r < q; r++) // tokens that lead through long lists
            if (ends(w, r, "page") || ends(w, r, "next") || ends(w, r, "sync")) return 0;
        return 1;
    }
    return 0;
}

static inline int quote(u8 c) { return c == '"' || c == '\'' || c == '`'; }

// placeholder reports whether a value that begins so only stands for one: ${VARIABLE}, <password>, ****,
// [redacted:password]. stands_for knows words that do.
static inline int placeholder(u8 c) { return c == '$' || c == '{' || c == '<' || c == '[' || c == '%' || c == '*' || c == '('; }

static int stands_for(const u8 *v, const u8 *to) {
    switch (to - v) {
    case 4:
        return ends(v, to, "null") || ends(v, to, "true") || ends(v, to, "none");
    case 5:
        return ends(v, to, "false");
    case 6:
        return ends(v, to, "string");
    case 8:
        return ends(v, to, "required") || ends(v, to, "optional") || ends(v, to, "password");
    case 9:
        return ends(v, to, "undefined");
    }
    return 0;
}

// random returns the end of the value at v if it looks like one that nobody chose, and 0 if not.
static const u8 *random(const u8 *v) {
    u32 digits = 0, letters = 0;
    const u8 *to = v;
    for (; to < end && (token(*to) || *to == '.' || *to == '/' || *to == '+' || *to == '~'); to++) {
        digits |= digit(*to);
        letters |= upper(*to & ~0x20u);
    }
    while (to < end && *to == '=') to++;
    return to - v >= 16 && digits && letters ? to : 0;
}

// chosen reports whether a value without quotes behind a colon looks like a password and not like a word of prose.
static int chosen(const u8 *v, const u8 *to) {
    for (const u8 *p = v; p < to; p++)
        if (digit(*p) && to - v >= 6) return 1;
    return 0;
}

// value_end returns the end of the value at v: at its closing quote, or where a value without quotes ends.
static const u8 *value_end(const u8 *v, u8 opening) {
    const u8 *stop = end - v > 1024 ? v + 1024 : end;
    while (stop < end && (*stop & 0xc0) == 0x80) stop++; // not inside a character
    for (const u8 *p = v; p < stop; p++) {
        if (opening ? *p == opening || *p == '\n' : *p <= ' ' || quote(*p)) return p;
        if (opening) continue;
        switch (*p) {
        case '&': case ';': case ',': case ')': case '}': case ']': case '<': case '>':
            return p;
        }
    }
    return stop;
}

// userinfo reports the password in scheme://user:password@host, whose first colon is at p.
RARE static void userinfo(const u8 *p) {
    const u8 *colon = 0, *at = 0, *stop = end - p > 512 ? p + 512 : end;
    for (const u8 *q = p + 3; q < stop && *q > ' ' && *q != '/' && *q != '?' && *q != '#' && !quote(*q); q++) {
        if (*q == ':' && !colon) colon = q;
        if (*q == '@') at = q;
    }
    if (colon && at > colon + 1 && !placeholder(colon[1])) found(PASSWORD, colon + 1, at);
}

// assignment looks at what stands on both sides of the '=' or ':' at p.
RARE static void assignment(const u8 *p) {
    if (*p == ':' && end - p > 3 && p[1] == '/' && p[2] == '/') {
        userinfo(p);
        return;
    }
    const u8 *q = p, *v = p + 1;
    if (q > text && q[-1] == ' ') q--;
    if (q > text && quote(q[-1])) q--;
    const u8 *w = q;
    while (w > text && q - w < 48 && token(w[-1])) w--;
    int secret = q - w < 3 ? 0 : secrecy(w, q);
    if (!secret) return;
    if (v < end && ((*p == ':' && *v == '=') || (*p == '=' && *v == '>'))) v++;
    for (u32 i = 0; i < 2 && v < end && (*v == ' ' || *v == '\t'); i++) v++;
    u8 opening = v < end && quote(*v) ? *v++ : 0;
    if (secret == 1) {
        const u8 *to = random(v);
        if (to && (!opening || (to < end && *to == opening))) found(PASSWORD, v, to);
        return;
    }
    if (v == end || placeholder(*v)) return;
    const u8 *to = value_end(v, opening);
    if (to - v >= 4 && !stands_for(v, to) && (opening || *p == '=' || chosen(v, to))) found(PASSWORD, v, to);
}

// marks looks at the bytes of x, which stand at p, that share their upper four bits with digits, ':' and '='. Of digits
// that follow each other it looks at the first.
static inline void marks(const u8 *p, u64 x) {
    u64 m = between(x & ~HIGHS, 0x30, 0x3f) & ~x;
    for (m &= ~(m << 8); m; m &= m - 1) {
        const u8 *q = p + first_of(m);
        u32 c = load4(q), first = c & 0xff;
        if (four(c)) card(q);
        else if (first == '=' || first == ':') assignment(q);
    }
}

void find_secrets(const u8 *t, u32 n) {
    text = done = token_from = token_to = t;
    end = t + n;
    looked_for_keys = 0;
    // A run of 16 longs holds eight that are read as one word, and four more on one side of it at least.
    u64 before = HIGHS, here = HIGHS; // separators of the last two words
    const u8 *p = t, *stop = t + n;
    for (; stop - p >= 8; p += 8) {
        u64 x = load8(p), next = separators(x);
        if (!here && !((before >> 32) && (u32)next)) run(p - 8);
        before = here;
        here = next;
        marks(p, x);
    }
    if (!here && !(before >> 32)) run(p - 8);
    if (p < stop) marks(p, load8(p) | ~0ull << 8 * (stop - p));
}
