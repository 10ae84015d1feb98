// redact-secrets replaces secrets in the strings of arguments and results by [redacted:KIND] and labels the call secret:KIND.
// A call with a secret in a key is refused: a key cannot be replaced.
#include "../gatewright.h"

enum { AWS, GITHUB, API, SLACK, PRIVATE, KINDS };
static const char *const names[KINDS] = {"aws-key", "github-token", "api-key", "slack-token", "private-key"};
static const char *const labels[KINDS] = {
    "secret:aws-key", "secret:github-token", "secret:api-key", "secret:slack-token", "secret:private-key",
};

static int alnum(gw_u8 c) { return gw_is_word(c) && c != '_'; }

// run returns where the run of the letters and digits at `at` ends, '-' and '_' included where others says so.
static gw_u32 run(gw_text t, gw_u32 at, const char *others) {
    for (; at < t.size; at++) {
        gw_u8 c = t.at[at];
        if (!alnum(c) && !(*others && c == (gw_u8)others[0]) && !(*others && others[1] && c == (gw_u8)others[1])) break;
    }
    return at;
}

// The functions below return where the secret of n bytes at least that begins at `at` ends, or 0 where there is none.

static gw_u32 aws(gw_text t, gw_u32 at) {
    gw_u32 end = at + 20;
    if (end > t.size || !(gw_begins(t, at, "AKIA") || gw_begins(t, at, "ASIA"))) return 0;
    for (gw_u32 i = at + 4; i < end; i++)
        if (!alnum(t.at[i]) || t.at[i] >= 'a') return 0;
    return end < t.size && gw_is_word(t.at[end]) ? 0 : end;
}

static gw_u32 github(gw_text t, gw_u32 at) {
    if (at + 4 > t.size || t.at[at + 1] != 'h' || t.at[at + 3] != '_') return 0;
    gw_u8 c = t.at[at + 2];
    if (c != 'p' && c != 'o' && c != 'u' && c != 's' && c != 'r') return 0;
    gw_u32 end = run(t, at + 4, "");
    return end - at >= 40 ? end : 0;
}

static gw_u32 api(gw_text t, gw_u32 at) {
    if (!gw_begins(t, at, "sk-")) return 0;
    gw_u32 end = run(t, at + 3, "-_");
    return end - at >= 23 ? end : 0;
}

static gw_u32 slack(gw_text t, gw_u32 at) {
    if (!gw_begins(t, at, "xox") || at + 5 > t.size || t.at[at + 4] != '-') return 0;
    gw_u8 c = t.at[at + 3];
    if (c != 'b' && c != 'p' && c != 'a' && c != 'r' && c != 's') return 0;
    gw_u32 end = run(t, at + 5, "-");
    return end - at >= 15 ? end : 0;
}

static gw_u32 private_key(gw_text t, gw_u32 at) {
    if (!gw_begins(t, at, "-----BEGIN ")) return 0;
    gw_u32 p = at + 11;
    for (; !gw_begins(t, p, "PRIVATE KEY-----"); p++)
        if (p >= at + 43 || p >= t.size || !(t.at[p] == ' ' || (alnum(t.at[p]) && t.at[p] < 'a'))) return 0;
    for (p += 16; p < t.size; p++)
        if (t.at[p] == '-' && gw_begins(t, p, "-----END ")) break;
    for (p += 9; p < t.size; p++)
        if (t.at[p] == '-' && gw_begins(t, p, "-----")) return p + 5;
    return t.size;
}

// secret returns where the secret that begins at `at` ends, or 0.
__attribute__((noinline)) static gw_u32 secret(gw_text t, gw_u32 at, int *kind) {
    gw_u8 c = t.at[at];
    if (c == '-') return *kind = PRIVATE, private_key(t, at);
    if (at > 0 && gw_is_word(t.at[at - 1])) return 0;
    switch (c) {
    case 'A': return *kind = AWS, aws(t, at);
    case 'g': return *kind = GITHUB, github(t, at);
    case 's': return *kind = API, api(t, at);
    default: return *kind = SLACK, slack(t, at);
    }
}

// redact returns the kinds that a text holds, as bits, and puts the text without them into out.
static gw_u32 redact(gw_text t, gw_buffer *out) {
    gw_u32 kinds = 0, done = 0;
    for (gw_u32 i = 0; i < t.size; i++) {
        gw_u8 c = t.at[i];
        if (c != 'A' && c != 'g' && c != 's' && c != 'x' && c != '-') continue;
        int kind;
        gw_u32 end = secret(t, i, &kind);
        if (!end) continue;
        kinds |= 1u << kind;
        gw_put(out, (gw_text){t.at + done, i - done});
        gw_put(out, GW_TEXT("[redacted:"));
        for (const char *s = names[kind]; *s; s++) gw_put(out, (gw_text){(const gw_u8 *)s, 1});
        gw_put(out, GW_TEXT("]"));
        done = end;
        i = end - 1;
    }
    if (kinds) gw_put(out, (gw_text){t.at + done, t.size - done});
    return kinds;
}

static void judge(const gw_context *c) {
    gw_edit edit = gw_edit_of(c->body);
    gw_u32 kinds = 0, held = 0;
    gw_walk w = gw_walk_of(c->body);
    while (gw_next(&w)) {
        if (w.kind == GW_NUMBER) continue;
        gw_buffer out = {0};
        gw_u32 found = redact(w.text, &out);
        if (!found) continue;
        kinds |= found;
        if (w.kind == GW_KEY) held = 1;
        else gw_replace(&edit, &w, gw_text_of(&out));
    }
    if (!kinds) return;
    for (int i = 0; i < KINDS; i++)
        if (kinds >> i & 1) gw_add_label(labels[i]);
    if (held) {
        gw_deny("secret_in_key", "a key of the JSON holds a secret");
        return;
    }
    gw_reason("secrets_redacted");
    gw_rewrite(gw_edited(&edit));
}

GW_ON_REQUEST(judge)
GW_ON_RESPONSE(judge)
