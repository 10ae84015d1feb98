// What the parts of find_secrets share: find.c reads the text, and tokens.c, cards.c and settings.c look closer.
#pragma once
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

// The text that is being looked through, and whether no more reports are wanted.
extern const u8 *text, *end;
extern int enough;

// found reports what stands from `from` to `to`.
void found(enum kind kind, const u8 *from, const u8 *to);

// begin_tokens and begin_settings are called before each text.
void begin_tokens(void);
void begin_settings(void);

// keys looks for private keys in the whole text, of which the shortest has more bytes than SHORTEST_KEY.
#define SHORTEST_KEY 40
void keys(void);

// prefixes looks for tokens that begin between `from` and `to`, where a word begins.
void prefixes(const u8 *from, const u8 *to);

// credentials reports the run from p to `to` when "Bearer" stands before it, or "Basic" and it is what follows that.
void credentials(const u8 *p, const u8 *to);

// long_end returns the end of the run of longs that begins at p.
const u8 *long_end(const u8 *p);

// cards looks at the numbers of at least four digits that begin at the marked bytes of the eight at p.
void cards(const u8 *p, u64 marks);

// settings looks at the marked bytes of the eight at p, which are ':' and '=', where a name that may be that of a secret
// is set, or a URL begins.
void settings(const u8 *p, u64 marks);
