// Tokens: what begins with a prefix of its own, private keys, and what stands behind "Bearer" and "Basic".
#include "scan.h"

// Each of these returns the end of the run of one class that begins at p.
#define RUN_END(name, class)                                                                                                     \
    RARE static const u8 *name(const u8 *p) {                                                                                    \
        for (; p < end; p += 8) {                                                                                                \
            u64 others = ~class(load8(p)) & HIGHS;                                                                               \
            if (!others) continue;                                                                                               \
            p += first_of(others);                                                                                               \
            break;                                                                                                               \
        }                                                                                                                        \
        return p < end ? p : end;                                                                                                \
    }
RUN_END(alnum_end, alnums)
RUN_END(token_run_end, tokens)

// token_end is token_run_end with its last answer remembered: a run may hold many prefixes, and is walked once.
static const u8 *token_from, *token_to;
static const u8 *body_from, *body_to; // the same of the second part of a JWT, which many first parts may lead to
static const u8 *next_digit, *next_upper, *next_lower; // where openai found them last: it walks a run once, too

void begin_tokens(void) {
    token_from = token_to = body_from = body_to = next_digit = next_upper = next_lower = text;
}

static const u8 *token_end(const u8 *p) {
    if (p < token_from || p >= token_to) {
        token_from = p;
        token_to = token_run_end(p);
    }
    return token_to;
}

// keyed reports a token that ends at `to`, if it is at least so long, and returns its end. The functions that follow each
// look for tokens of some kinds at p, where the word w stands, and return the end of what they reported, or 0.
static const u8 *keyed(enum kind kind, const u8 *p, const u8 *to, int least) {
    if (to - p < least) return 0;
    found(kind, p, to);
    return to;
}

RARE static const u8 *aws(const u8 *p) {
    const u8 *to = alnum_end(p);
    if (to - p != 20) return 0;
    for (const u8 *q = p; q < to; q++)
        if (!digit(*q) && !upper(*q)) return 0;
    return keyed(AWS, p, to, 20);
}

RARE static const u8 *google(const u8 *p, u64 w) {
    if (begins(w, "AIza")) return keyed(GOOGLE, p, token_end(p), 39);
    if (begins(w, "GOCSPX-")) return keyed(GOOGLE, p, token_end(p), 27);
    if (begins(w, "ya29.")) return keyed(GOOGLE, p, token_run_end(p + 5), 25);
    return 0;
}

RARE static const u8 *github(const u8 *p, u64 w) {
    if (begins(w, "github_p")) return begins(load8(p + 3), "hub_pat_") ? keyed(GITHUB, p, token_end(p), 33) : 0;
    switch (p[2]) {
    case 'p': case 'o': case 'u': case 's': case 'r':
        return p[1] == 'h' && p[3] == '_' ? keyed(GITHUB, p, alnum_end(p + 4), 40) : 0;
    }
    return 0;
}

RARE static const u8 *gitlab(const u8 *p, u64 w) {
    if (begins(w, "glpat-") || begins(w, "glptt-") || begins(w, "glcbt-") || begins(w, "gldt-") || begins(w, "glrt-") ||
        begins(w, "glsoat-"))
        return keyed(GITLAB, p, token_end(p), 25);
    return 0;
}

RARE static const u8 *slack(const u8 *p, u64 w) {
    if (begins(w, "xapp-")) return keyed(SLACK, p, token_end(p), 25);
    switch (p[3]) {
    case 'a': case 'b': case 'e': case 'o': case 'p': case 'r': case 's':
        return begins(w, "xox") && p[4] == '-' ? keyed(SLACK, p, token_end(p), 21) : 0;
    }
    return 0;
}

RARE static const u8 *stripe(const u8 *p, u64 w) {
    if (begins(w | 1, "sk_live_") || begins(w | 1, "sk_test_")) return keyed(STRIPE, p, alnum_end(p + 8), 24); // sk and rk
    return 0;
}

// webhook takes base64; a full stop behind it ends a sentence.
RARE static const u8 *webhook(const u8 *p, u64 w) {
    if (!begins(w, "whsec_")) return 0;
    const u8 *to = long_end(p);
    while (to[-1] == '.') to--;
    return keyed(STRIPE, p, to, 30);
}

// openai tells keys from words with hyphens: of random tokens nearly all have digits and letters of both cases early on.
RARE static const u8 *openai(const u8 *p) {
    const u8 *to = token_end(p), *stop = to - p > 64 ? p + 64 : to;
    if (next_digit < p + 3) next_digit = p + 3;
    if (next_upper < p + 3) next_upper = p + 3;
    if (next_lower < p + 3) next_lower = p + 3;
    while (next_digit < stop && !digit(*next_digit)) next_digit++;
    while (next_upper < stop && !upper(*next_upper)) next_upper++;
    while (next_lower < stop && !upper(*next_lower ^ 0x20)) next_lower++;
    return next_digit < stop && next_upper < stop && next_lower < stop ? keyed(OPENAI, p, to, 23) : 0;
}

RARE static const u8 *sk(const u8 *p, u64 w) {
    if (begins(w, "sk-ant-")) return keyed(ANTHROPIC, p, token_end(p), 27);
    return begins(w, "sk-") ? openai(p) : stripe(p, w);
}

RARE static const u8 *gatewright(const u8 *p, u64 w) {
    return begins(w, "ak_live_") || begins(w, "ak_test_") ? keyed(GATEWRIGHT, p, token_end(p), 24) : 0;
}

// jwt takes three parts of base64url, the first two of which begin like JSON objects.
RARE static const u8 *jwt(const u8 *p, u64 w) {
    if (!begins(w, "eyJ")) return 0;
    const u8 *head = token_end(p);
    if (head - p < 16 || end - head < 5 || !begins(load8(head), ".eyJ")) return 0;
    if (body_from != head + 1) {
        body_from = head + 1;
        body_to = token_run_end(body_from);
    }
    return body_to < end && *body_to == '.' ? keyed(JWT, p, token_run_end(body_to + 1), 0) : 0;
}

// leads reports whether a prefix begins with two bytes.
#define TWO(a, b) (a | b << 8)
static inline int leads(u32 two) {
    switch (two) {
    case TWO('A', 'K'): case TWO('A', 'S'): case TWO('A', 'I'): case TWO('G', 'O'): case TWO('a', 'k'): case TWO('e', 'y'):
    case TWO('g', 'h'): case TWO('g', 'i'): case TWO('g', 'l'): case TWO('r', 'k'): case TWO('s', 'k'): case TWO('w', 'h'):
    case TWO('x', 'a'): case TWO('x', 'o'): case TWO('y', 'a'):
        return 1;
    }
    return 0;
}

// prefixed looks for a token at p, where a word begins.
RARE static const u8 *prefixed(const u8 *p) {
    u64 w = load8(p);
    switch (*p) {
    case 'A':
        return begins(w, "AKIA") || begins(w, "ASIA") ? aws(p) : google(p, w);
    case 'G':
    case 'y':
        return google(p, w);
    case 'a':
        return gatewright(p, w);
    case 'e':
        return jwt(p, w);
    case 'g':
        return p[1] == 'l' ? gitlab(p, w) : github(p, w);
    case 'r':
    case 's':
        return sk(p, w);
    case 'w':
        return webhook(p, w);
    case 'x':
        return slack(p, w);
    }
    return 0;
}

static int sextet(u8 c) {
    if (upper(c)) return c - 'A';
    if (upper(c ^ 0x20)) return c - 'a' + 26;
    if (digit(c)) return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// basic reports whether p is the base64 of user:password up to `to`, and not a word.
RARE static int basic(const u8 *p, const u8 *to) {
    u32 bits = 0, n = 0, colon = 0;
    while (to > p && (to[-1] == '=' || to[-1] == '.')) to--;
    for (; p < to; p++) {
        int v = sextet(*p);
        if (v < 0) return 0;
        bits = bits << 6 | (u32)v;
        n += 6;
        if (n < 8) continue;
        u8 c = (u8)(bits >> (n -= 8));
        if (c < ' ' || c == 127) return 0;
        colon |= c == ':';
    }
    return colon;
}

void credentials(const u8 *p, const u8 *to) {
    const u8 *q = p;
    while (q > text && (q[-1] == ' ' || q[-1] == '\t')) q--;
    if (q == p || q - text < 5) return;
    u64 w = load8(q - 8) | ONES * 0x20;
    if (closes(w, "bearer") && (q - text == 6 || !alnum(q[-7]))) found(BEARER, p, to);
    if (closes(w, "basic") && (q - text == 5 || !alnum(q[-6])) && basic(p, to)) found(PASSWORD, p, to);
}

// key reports the block that begins at b with "-----BEGIN ", if it is a private key, up to the hyphens that end it, and
// returns where to go on.
RARE static const u8 *key(const u8 *b) {
    const u8 *q = b + 11;
    for (; q < end && *q != '\n' && !begins(load8(q), "-----"); q++)
        if (*q == 'P' && begins(load8(q), "PRIVATE ") && begins(load8(q + 3), "VATE KEY")) break;
    if (q >= end || *q != 'P') return q - 1; // the hyphens at q may begin another
    while (q < end && !begins(load8(q), "-----END")) q++;
    for (q += 8; q < end && *q != '-' && *q != '\n'; q++) {
    }
    while (q < end && *q == '-') q++;
    if (q > end) q = end;
    found(PRIVATE_KEY, b, q);
    return q;
}

// dashes looks at the run of hyphens through p, and returns where to go on.
RARE static const u8 *dashes(const u8 *p) {
    while (p < end && *p == '-') p++;
    if (p - text < 5 || end - p < 6 || !begins(load8(p - 5), "-----BEG") || !begins(load8(p - 2), "--BEGIN ")) return p;
    return key(p - 5);
}

// Every fifth byte is enough to find five hyphens. What is read behind the text does no harm: dashes looks only before its end.
void keys(void) {
    for (const u8 *p = text + 4; p < end;) {
        if (*p == '-') p = dashes(p);
        else if (p[5] != '-' && p[10] != '-' && p[15] != '-' && p[20] != '-' && p[25] != '-') p += 25;
        p += 5;
    }
}

void prefixes(const u8 *from, const u8 *to) {
    const u8 *past = from; // before it everything is reported
    u64 before = from > text && alnum(from[-1]) ? 0x80 : 0;
    for (const u8 *p = from; p < to; p += 8) {
        u64 words = alnums(load8(p)), begin = words & ~(words << 8 | before);
        for (before = words >> 56; begin; begin &= begin - 1) {
            const u8 *q = p + first_of(begin);
            if (!leads(load2(q)) || q < past || q >= to) continue;
            q = prefixed(q);
            if (q) past = q;
        }
    }
}
