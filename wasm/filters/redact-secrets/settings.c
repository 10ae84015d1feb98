// Names that are set to secrets, and passwords in URLs.
#include "scan.h"

static const u8 *valued; // before it values have been looked at

void begin_settings(void) { valued = text; }

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
    return !closes(w, "page") && !closes(w, "next") && !closes(w, "sync") && !closes(w, "nuation"); // those lead through lists
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

// calls reports whether a value without quotes is an expression of a program: a name, perhaps with dots, and a bracket.
RARE static int calls(const u8 *v, const u8 *to) {
    const u8 *p = v;
    while (p < to && (alnum(*p) || *p == '_' || *p == '.')) p++;
    return p > v && p < to && (*p == '(' || *p == '[');
}

// value_end returns the end of the value at v: at its closing quote, or where a value without quotes ends.
RARE static const u8 *value_end(const u8 *v, u8 opening) {
    const u8 *p = v, *stop = end;
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
    int sure = *p == '=' && p[-1] != ' ' && *v != ' '; // NAME=value, as programs are configured; a blank makes it code
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
    if (to - v < 4 || stands_for(v, to) || (!opening && calls(v, to))) return;
    if (opening || sure || chosen(v, to)) found(PASSWORD, v, to);
}

// userinfo reports the password in scheme://user:password@host, whose first colon is at p.
RARE static void userinfo(const u8 *p) {
    const u8 *colon = 0, *at = 0;
    for (const u8 *q = p + 3; q < end && *q > ' ' && *q != '/' && *q != '?' && *q != '#' && !quote(*q); q++) {
        if (*q == ':' && !colon) colon = q;
        if (*q == '@') at = q;
    }
    if (colon && at > colon + 1 && !placeholder(colon[1])) found(PASSWORD, colon + 1, at);
}

int secret_name(const u8 *name, u32 n) {
    const u8 *q = name + n;
    return n >= 3 && (secrecy(q) || (n >= 13 && closes(load8(q - 8) | LOWER, "rization") && begins(load8(q - 13) | LOWER, "autho")));
}

// all_capitals reports whether a name like that of an environment variable stands from p to `to`.
static int all_capitals(const u8 *p, const u8 *to) {
    while (p < to && (upper(*p) || digit(*p) || *p == '_')) p++;
    return p == to;
}

// redacted reports whether all from p to `to` is what was put in place of a secret before.
static int redacted(const u8 *p, const u8 *to) {
    if (!begins(load8(p), "[redacte") || p[8] != 'd' || p[9] != ':') return 0;
    for (p += 10; p < to && (upper(*p ^ 0x20) || *p == '-');) p++;
    return p == to - 1 && *p == ']';
}

int stand_in(const u8 *v, u32 n) {
    const u8 *to = v + n;
    u8 last = to[-1];
    if (stands_for(v, to)) return 1;
    switch (*v) {
    case '$':
        return (v[1] == '{' && last == '}') || (v[1] == '(' && last == ')') || all_capitals(v + 1, to);
    case '{': return last == '}';
    case '<': return last == '>';
    case '%': return last == '%';
    case '[': return redacted(v, to);
    case '*':
        while (v < to && *v == '*') v++;
        return v == to;
    }
    return 0;
}

// assignment looks at the '=' or ':' at p, behind a name that ends before q, if not before the text.
RARE static void assignment(const u8 *p, const u8 *q) {
    if (p < valued || q - text < 3) return;
    int secret = secrecy(q);
    if (secret) set(p, secret);
}

void settings(const u8 *p, u64 marks) {
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
