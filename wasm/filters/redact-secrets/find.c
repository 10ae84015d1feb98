// find_secrets reads text eight bytes at a time and looks closer only where a secret could be: at a run of at least 16
// bytes of which tokens are made, and at digits, '=' and ':'. What it looks at closer is kept out of its loops: metered
// code pays for the whole of a loop or function that it enters.
#include "scan.h"

const u8 *text, *end;
int enough;
static const u8 *done; // before it all runs have been looked at

void found(enum kind kind, const u8 *from, const u8 *to) {
    if (!report(kind, (u32)(from - text), (u32)(to - text))) enough = 1;
}

const u8 *long_end(const u8 *p) {
    for (; p < end; p += 8) {
        u64 others = ~longs(load8(p)) & HIGHS;
        if (!others) continue;
        p += first_of(others);
        break;
    }
    return p < end ? p : end;
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

// run looks at the run of longs that goes through the eight bytes at p, if there is one, however long it is: data may lie
// around a token on purpose.
RARE static void run(const u8 *p) {
    if (enough || p < done || ~longs(load8(p)) & HIGHS) return;
    const u8 *from = long_from(p), *to = long_end(p + 8);
    done = to;
    if (to - from < 16) return;
    prefixes(from, to);
    credentials(from, to);
}

// setters marks ':' and '='.
static inline u64 setters(u64 x) { return (between(x & ~HIGHS, ':', ':') | between(x & ~HIGHS, '=', '=')) & ~x; }

// fours marks the digits of a word that begin at least four. before and next are the digits of the words beside it.
static inline u64 fours(u64 before, u64 here, u64 next) {
    return here & ~(here << 8 | before >> 56) & (here >> 8 | next << 56) & (here >> 16 | next << 48) & (here >> 24 | next << 40);
}

void find_secrets(const u8 *t, u32 n) {
    text = done = t;
    end = t + n;
    enough = 0;
    begin_tokens();
    begin_settings();
    if (n >= SHORTEST_KEY) keys();
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
        if (!parted1 && !((parted0 >> 32) && (u32)parted)) run(p - 8);
        parted0 = parted1, parted1 = parted, digits0 = digits1, digits1 = digits;
    }
    u64 rest = p < stop ? load8(p) | ~0ull << 8 * (stop - p) : ~0ull, digits = between(rest & ~HIGHS, '0', '9') & ~rest;
    if (!parted1 && !(parted0 >> 32)) run(p - 8);
    cards(p - 8, fours(digits0, digits1, digits));
    settings(p, setters(rest));
}
