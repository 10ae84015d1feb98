// find_secrets reads text eight bytes at a time and looks closer only where a secret could be: at a run of at least 16
// bytes of which tokens are made, and at digits, '=' and ':'. What it looks at closer is kept out of its loops: metered
// code pays for the whole of a loop or function that it enters.
#include "find.h"

static inline int digit(u8 c) { return c - '0' < 10u; }
static inline int upper(u8 c) { return c - 'A' < 26u; }
static inline u8 lower(u8 c) { return c | 0x20; }
static inline int alnum(u8 c) { return digit(c) || upper(c & ~0x20); }
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

// separators is not zero when one of eight bytes cannot be part of a run: it lies below '+' or beyond ASCII.
static inline u64 separators(u64 x) { return ((x - ONES * '+') | x) & HIGHS; }

// four reports whether four bytes are digits.
static inline int four(u32 x) { return (((x & 0xf0f0f0f0u) ^ 0x30303030u) | (((x + 0x06060606u) & 0xf0f0f0f0u) ^ 0x30303030u)) == 0; }

// The text that is being looked through, and what it has shown so far.
static const u8 *text, *end;
static const u8 *done;      // before it all runs have been looked at
static int looked_for_keys; // keys has run

static const u8 *valued;    // before it values have been looked at
static u32 tries;           // how often something may still look like an OpenAI key and be none
static int enough;          // no more reports are wanted

static void found(enum kind kind, const u8 *from, const u8 *to) {
    if (!report(kind, (u32)(from - text), (u32)(to - text))) enough = 1;
}

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

RARE static const u8 *long_end(const u8 *p, const u8 *stop) {
    for (; p < stop && p < end; p += 8) {
        u64 others = ~longs(load8(p)) & HIGHS;
        if (!others) continue;
        p += first_of(others);
        break;
    }
    return p < end ? p : end;
}

// token_end is token_run_end with its last answer remembered: a run may hold many prefixes, and is walked once.
static const u8 *token_from, *token_to;

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
    const u8 *to = token_end(p);
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
    const u8 *to = long_end(p, end);
    while (to[-1] == '.') to--;
    return keyed(STRIPE, p, to, 30);
}

// openai tells keys from words with hyphens: of random tokens nearly all have digits and letters of both cases early on.
RARE static const u8 *openai(const u8 *p) {
    if (!tries) return 0;
    tries--;
    const u8 *to = token_end(p), *stop = to - p > 64 ? p + 64 : to;
    u32 digits = 0, uppers = 0, lowers = 0;
    for (const u8 *q = p + 3; q < stop; q++) {
        digits |= digit(*q);
        uppers |= upper(*q);
        lowers |= upper(*q ^ 0x20);
    }
    return digits && uppers && lowers ? keyed(OPENAI, p, to, 23) : 0;
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
    const u8 *body = token_run_end(head + 1);
    return body < end && *body == '.' ? keyed(JWT, p, token_run_end(body + 1), 0) : 0;
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

// bearer reports the run from p to `to` when "Bearer " stands before it.
RARE static void bearer(const u8 *p, const u8 *to) {
    if (p - text < 7) return;
    u64 w = load8(p - 7) | 0x202020202020ull;
    if (begins(w, "bearer ") && (p - text == 7 || !alnum(p[-8]))) found(BEARER, p, to);
}

// key reports the block that begins at b with "-----BEGIN ", if it is a private key, up to the hyphens that end it, and
// returns where to go on.
RARE static const u8 *key(const u8 *b) {
    const u8 *q = b + 11, *stop = end - b > 64 ? b + 64 : end;
    while (q < stop && *q != '-' && !begins(load8(q), "PRIVATE ")) q++;
    if (q >= stop || !begins(load8(q + 3), "VATE KEY")) return q;
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

// keys looks for private keys in the whole text. Every fifth byte is enough to find five hyphens.
RARE static void keys(void) {
    for (const u8 *p = text + 4; p < end; p += 5)
        if (*p == '-') p = dashes(p);
}

// long_from returns where the run of longs that ends at p begins, but not before `done`.
RARE static const u8 *long_from(const u8 *p) {
    while (p - done >= 8) {
        u64 others = ~longs(load8(p - 8)) & HIGHS;
        if (others) return p - (__builtin_clzll(others) >> 3);
        p -= 8;
    }
    while (p > done && longs(p[-1]) & 0x80) p--;
    return p;
}

// prefixes looks for tokens that begin between `from` and `to`, where a word begins, and reports whether there is any.
RARE static int prefixes(const u8 *from, const u8 *to) {
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
    return past > from;
}

#define DATA 4096 // bytes of a run that is no token, but data: an image, say

// run looks at the run of longs that goes through the eight bytes at p, if there is one. It returns p, or behind data where
// to go on, which lies a multiple of eight bytes from p.
RARE static const u8 *run(const u8 *p) {
    if (enough || p < done || ~longs(load8(p)) & HIGHS) return p;
    const u8 *from = long_from(p), *to = long_end(p + 8, p + DATA);
    done = to;
    if (to - from < 16) return p;
    if (to - from >= 32 && !looked_for_keys) {
        looked_for_keys = 1;
        keys();
    }
    if (to - p < DATA) {
        if (!prefixes(from, to)) bearer(from, to);
        return p;
    }
    for (p += DATA; end - p >= 8 && !separators(load8(p));) p += 8;
    done = p;
    return p - 8;
}

// luhn checks the last digit of the number from p to `to`, whatever stands between its digits.
RARE static int luhn(const u8 *p, const u8 *to) {
    u32 sum = 0, odd = 0;
    while (to > p) {
        u32 v = *--to - '0';
        if (v > 9) continue;
        if (odd) v += v > 4 ? v - 9 : v;
        sum += v;
        odd ^= 1;
    }
    return sum % 10 == 0;
}

// issued reports whether some issuer gives out cards with n digits that begin with the four at p.
RARE static int issued(const u8 *p, u32 n) {
    u32 two = (p[0] - '0') * 10 + p[1] - '0', fours = two * 100 + (p[2] - '0') * 10 + p[3] - '0';
    switch (n) {
    case 14: // Diners Club
        return two == 36 || two == 38 || (fours >= 3000 && fours < 3060);
    case 15: // American Express
        return two == 34 || two == 37;
    case 16: // Visa, Mastercard, Discover, JCB, UnionPay
        return *p == '4' || (two >= 51 && two <= 55) || (fours >= 2221 && fours <= 2720) || fours == 6011 || two == 65 ||
               (fours >= 6440 && fours < 6500) || (fours >= 3528 && fours <= 3589) || two == 62;
    case 19: // Visa, UnionPay
        return *p == '4' || two == 62;
    }
    return 0;
}

// number reports the card's number of n digits from p to `to`, if it is one.
RARE static void number(const u8 *p, const u8 *to, u32 n) {
    if ((to < end && token(*to)) || (end - to > 1 && *to == '.' && digit(to[1]))) return;
    if (issued(p, n) && luhn(p, to)) found(CARD, p, to);
}

// grouped looks for a number that is written in groups, as 4-4-4-4, 4-6-5 or 4-6-4.
RARE static void grouped(const u8 *p) {
    u8 by = p[4];
    if (!four(load4(p + 5))) return;
    if (p[9] == by) {
        if (end - p >= 19 && four(load4(p + 10)) && p[14] == by && four(load4(p + 15))) number(p, p + 19, 16);
    } else if (end - p >= 16 && digit(p[9]) && digit(p[10]) && p[11] == by && four(load4(p + 12))) {
        if (end - p > 16 && digit(p[16])) number(p, p + 17, 15);
        else number(p, p + 16, 14);
    }
}

// plain looks for a number without groups.
RARE static void plain(const u8 *p) {
    const u8 *to = p, *stop = end - p > 20 ? p + 20 : end;
    for (; to < stop; to += 4)
        if (!four(load4(to))) break;
    while (to < stop && digit(*to)) to++;
    if (to > stop) to = stop;
    number(p, to, (u32)(to - p));
}

// card looks at the number whose first four digits stand at p.
RARE static void card(const u8 *p) {
    u8 before = p > text ? p[-1] : ' ';
    if (*p < '2' || *p > '6' || end - p < 14 || token(before) || before == '.' || before == '/' || before == '+') return;
    if (p[4] == ' ' || p[4] == '-') grouped(p);
    else if (digit(p[4])) plain(p);
}

// The functions that follow say how surely a name stands for a secret, each for names that end with one letter: 2 when
// whatever it is set to is one, 1 when only what looks random is. The name ends before q; w is its end in lower case.
#define LOWER (ONES * 0x20)

RARE static int secrecy_y(const u8 *q, u64 w) {
    if (!closes(w, "key")) return 0;
    w = load8(q - (alnum(q[-4]) ? 11 : 12)) | LOWER;
    return closes(w, "api") || closes(w, "access") || closes(w, "secret") || closes(w, "private");
}

RARE static int secrecy_n(const u8 *q, u64 w) {
    if (!closes(w, "token")) return 0;
    w = load8(q - (alnum(q[-6]) ? 13 : 14)) | LOWER;
    return !closes(w, "page") && !closes(w, "next") && !closes(w, "sync"); // those lead through long lists
}

RARE static int secrecy(const u8 *q) {
    u64 w = load8(q - 8) | LOWER;
    switch (w >> 56) {
    case 'd':
        return closes(w, "password") || closes(w, "passwd") || closes(w, "pwd") ? 2 : 0;
    case 'e':
        return closes(w, "ssphrase") ? 2 : 0;
    case 't':
        return closes(w, "secret");
    case 'y':
        return secrecy_y(q, w);
    case 'n':
        return secrecy_n(q, w);
    }
    return 0;
}

static inline int quote(u8 c) { return c == '"' || c == '\'' || c == '`'; }

// placeholder reports whether a value that begins so only stands for one: ${VARIABLE}, <password>, ****,
// [redacted:password]. stands_for knows words that do.
static inline int placeholder(u8 c) {
    switch (c) {
    case '$': case '{': case '<': case '[': case '%': case '*': case '(':
        return 1;
    }
    return 0;
}

RARE static int stands_for(const u8 *v, const u8 *to) {
    u64 w = load8(to - 8) | LOWER;
    switch (to - v) {
    case 4:
        return closes(w, "null") || closes(w, "true") || closes(w, "none");
    case 5:
        return closes(w, "false");
    case 6:
        return closes(w, "string");
    case 8:
        return closes(w, "required") || closes(w, "optional") || closes(w, "password");
    case 9:
        return closes(w, "ndefined");
    }
    return 0;
}

// random returns the end of the value at v if it looks like one that nobody chose, and 0 if not.
RARE static const u8 *random(const u8 *v) {
    u64 digits = 0, letters = 0;
    const u8 *to = v;
    for (;; to += 8) {
        u64 x = load8(to), ascii = x & ~HIGHS, others = (~longs(x) | between(ascii, '=', '=')) & HIGHS;
        u64 inside = others ? (others & -others) - 1 : ~0ull; // the bytes before the first other
        digits |= between(ascii, '0', '9') & inside;
        letters |= between(ascii | LOWER, 'a', 'z') & inside;
        if (!others) continue;
        to += first_of(others);
        break;
    }
    while (*to == '=') to++;
    return to <= end && to - v >= 16 && digits && letters ? to : 0;
}

// chosen reports whether a value without quotes behind a colon looks like a password and not like a word of prose.
RARE static int chosen(const u8 *v, const u8 *to) {
    if (to - v >= 6)
        for (; v < to; v++)
            if (digit(*v)) return 1;
    return 0;
}

// value_end returns the end of the value at v: at its closing quote, or where a value without quotes ends.
RARE static const u8 *value_end(const u8 *v, u8 opening) {
    const u8 *p = v, *stop = end - v > 1024 ? v + 1024 : end;
    if (opening) {
        while (p < stop && *p != opening && *p != '\n') p++;
    } else {
        for (; p < stop && *p > ' ' && !quote(*p); p++)
            if (*p == '&' || *p == ';' || *p == ',' || *p == ')' || *p == '}' || *p == ']' || *p == '<' || *p == '>') break;
    }
    while (p < end && (*p & 0xc0) == 0x80) p++; // not inside a character
    return p;
}

// set looks at the value behind the '=' or ':' at p, where something of that secrecy is set.
RARE static void set(const u8 *p, int secret) {
    const u8 *v = p + 1;
    if ((*p == ':' && *v == '=') || (*p == '=' && *v == '>')) v++;
    if (*v == ' ' || *v == '\t') v++;
    if (*v == ' ' || *v == '\t') v++;
    u8 opening = quote(*v) ? *v++ : 0;
    if (v >= end || placeholder(*v)) return;
    if (secret == 1) {
        const u8 *to = random(v);
        if (to && (!opening || (to < end && *to == opening))) found(PASSWORD, v, to);
        return;
    }
    const u8 *to = value_end(v, opening);
    valued = to;
    if (to - v >= 4 && !stands_for(v, to) && (opening || *p == '=' || chosen(v, to))) found(PASSWORD, v, to);
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

// assignment looks at the '=' or ':' at p, behind a name that ends before q, if not before the text.
RARE static void assignment(const u8 *p, const u8 *q) {
    if (p < valued || q - text < 3) return;
    int secret = secrecy(q);
    if (secret) set(p, secret);
}

// setters marks ':' and '='. settings looks at them, in the eight bytes at p, where a name that may be that of a secret is
// set, or a URL begins.
static inline u64 setters(u64 x) { return (between(x & ~HIGHS, ':', ':') | between(x & ~HIGHS, '=', '=')) & ~x; }

RARE static void settings(const u8 *p, u64 marks) {
    if (enough) return;
    for (; marks; marks &= marks - 1) {
        const u8 *q = p + first_of(marks);
        u64 w = load8(q - 4);
        u32 before = (u32)w, n = 0;
        for (; n < 2 && (before >> 24 == ' ' || quote(before >> 24)); n++) before <<= 8;
        switch (lower(before >> 24)) {
        case 'd': case 'e': case 't': case 'y': case 'n':
            assignment(q, q - n);
        }
        if (begins(w >> 32, "://")) userinfo(q);
    }
}

// fours marks the digits of a word that begin at least four. before and next are the digits of the words beside it.
static inline u64 fours(u64 before, u64 here, u64 next) {
    return here & ~(here << 8 | before >> 56) & (here >> 8 | next << 56) & (here >> 16 | next << 48) & (here >> 24 | next << 40);
}

RARE static void cards(const u8 *p, u64 marks) {
    if (enough) return;
    for (; marks; marks &= marks - 1) card(p + first_of(marks));
}

void find_secrets(const u8 *t, u32 n) {
    text = done = valued = token_from = token_to = t;
    end = t + n;
    looked_for_keys = enough = 0;
    tries = 64;
    // A word is looked at when the next one has been read: these are of the last two. A run of 16 longs holds eight that are
    // read as one word, and four more on one side of it at least.
    u64 parted0 = HIGHS, parted1 = HIGHS, digits0 = 0, digits1 = 0;
    const u8 *p = t, *stop = t + n;
    for (; stop - p >= 8; p += 8) {
        u64 x = load8(p), parted = separators(x), digits = between(x & ~HIGHS, '0', '9') & ~x, marks = setters(x);
        if (marks) settings(p, marks);
        if (digits1) {
            marks = fours(digits0, digits1, digits);
            if (marks) cards(p - 8, marks);
        }
        if (!parted1 && !((parted0 >> 32) && (u32)parted)) {
            const u8 *next = run(p - 8);
            if (next >= p) {
                p = next;
                parted = digits = 0;
            }
        }
        parted0 = parted1, parted1 = parted, digits0 = digits1, digits1 = digits;
    }
    u64 rest = p < stop ? load8(p) | ~0ull << 8 * (stop - p) : ~0ull, digits = between(rest & ~HIGHS, '0', '9') & ~rest;
    if (!parted1 && !(parted0 >> 32)) run(p - 8);
    cards(p - 8, fours(digits0, digits1, digits));
    settings(p, setters(rest));
}
