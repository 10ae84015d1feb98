// rate-injection says how much a call reads like a prompt injection, from 0 to 1000, as the score "injection", which policies
// can look at. {"deny_from":800} in its configuration refuses calls of that score and more. It looks for phrases, whatever
// stands between their words, and for characters that nobody sees.
#include "../gatewright.h"

static const struct {
    const char *words;
    gw_u32 weight;
} phrases[] = {
    {"act as if", 150}, {"begin new instructions", 400}, {"developer mode", 400}, {"disregard all previous", 600},
    {"disregard previous", 500}, {"disregard the above", 500}, {"do anything now", 500}, {"do not mention this", 300},
    {"do not tell the user", 600}, {"forget everything above", 500}, {"forget your instructions", 500}, {"from now on you", 250},
    {"ignore all previous", 600}, {"ignore previous instructions", 600}, {"ignore the above", 500},
    {"ignore your instructions", 600}, {"im_start", 500}, {"jailbreak", 400}, {"new instructions", 200},
    {"override your instructions", 600}, {"pretend to be", 200}, {"print your instructions", 500}, {"reveal your", 250},
    {"send the conversation to", 500}, {"system prompt", 350}, {"without any restrictions", 300}, {"you are now", 250},
};
#define PHRASES (sizeof phrases / sizeof *phrases)
#define HIDDEN PHRASES // the bit of characters that nobody sees
#define HIDDEN_WEIGHT 300

static gw_u32 deny_from = 1001;
static gw_u8 begin[33]; // where the phrases of a letter begin: a filter pays for what it looks at

// hidden returns how many bytes a character has that nobody sees, 0 for any other: zero width blanks and joins, overrides of
// the direction, the byte order mark and tags.
__attribute__((noinline)) static gw_u32 hidden(const gw_u8 *p, gw_u32 n) {
    if (n >= 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0x8b || (p[2] >= 0xaa && p[2] <= 0xae))) return 3;
    if (n >= 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa0 && p[2] <= 0xa4) return 3;
    if (n >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf) return 3;
    if (n >= 4 && p[0] == 0xf3 && p[1] == 0xa0 && (p[2] == 0x80 || p[2] == 0x81)) return 4;
    return 0;
}

// words writes the words of a text in lower case, with one blank before and behind each, and returns where they end.
static gw_u8 *words(gw_text t, gw_u8 *to, gw_u32 *seen) {
    *to++ = ' ';
    for (gw_u32 i = 0; i < t.size; i++) {
        gw_u8 c = t.at[i];
        if (c >= 0xe2) {
            gw_u32 n = hidden(t.at + i, t.size - i);
            if (n) {
                *seen |= 1u << HIDDEN;
                i += n - 1;
                continue;
            }
        }
        if (gw_is_word(c) || c >= 0x80) *to++ = c >= 'A' && c <= 'Z' ? c | 32 : c;
        else if (to[-1] != ' ') *to++ = ' ';
    }
    *to++ = ' ';
    return to;
}

// phrase marks the phrases that begin at p; a blank stands before end.
__attribute__((noinline)) static void phrase(const gw_u8 *p, const gw_u8 *end, gw_u32 *seen) {
    for (gw_u32 i = begin[*p & 31]; i < begin[(*p & 31) + 1]; i++) {
        const char *w = phrases[i].words;
        const gw_u8 *q = p;
        for (; *w && q < end && *q == (gw_u8)*w; w++) q++;
        if (!*w && q < end && *q == ' ') *seen |= 1u << i;
    }
}

static void look(gw_text t, gw_u32 *seen) {
    gw_u8 *from = gw_take(t.size + 2), *end = words(t, from, seen);
    for (const gw_u8 *p = from; p + 1 < end; p++)
        if (*p == ' ' && p[1] >= 'a' && begin[p[1] & 31] != begin[(p[1] & 31) + 1]) phrase(p + 1, end, seen);
}

static void judge(const gw_context *c) {
    gw_u32 seen = 0, score = 0;
    gw_walk w = gw_walk_of(c->body);
    while (gw_next(&w))
        if (w.kind != GW_NUMBER) look(w.text, &seen);
    for (gw_u32 i = 0; i < PHRASES; i++)
        if (seen >> i & 1) score += phrases[i].weight;
    if (seen >> HIDDEN & 1) score += HIDDEN_WEIGHT;
    if (score > 1000) score = 1000;
    gw_add_score("injection", score);
    if (score >= deny_from) gw_deny("prompt_injection", "it reads like a prompt injection");
}

// parse reads a whole number from 1 to 1000, or 0.
static gw_u32 parse(gw_text t) {
    gw_u32 n = 0;
    if (t.size > 4) return 0;
    for (gw_u32 i = 0; i < t.size; i++) {
        if (t.at[i] < '0' || t.at[i] > '9') return 0;
        n = n * 10 + t.at[i] - '0';
    }
    return n <= 1000 ? n : 0;
}

static int configure(gw_text config) {
    for (gw_u32 letter = 0; letter <= 32; letter++)
        for (gw_u32 i = 0; i < PHRASES; i++) begin[letter] += (phrases[i].words[0] & 31u) < letter;
    gw_walk w = gw_walk_of(config);
    while (gw_next(&w))
        if (gw_same(w.member, "deny_from") && w.kind != GW_KEY) {
            deny_from = w.kind == GW_NUMBER ? parse(w.text) : 0;
            if (!deny_from) return 1; // not a score
        }
    return 0;
}

GW_ON_REQUEST(judge)
GW_ON_RESPONSE(judge)
GW_ON_INIT(configure)
