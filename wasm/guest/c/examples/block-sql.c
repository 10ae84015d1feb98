// block-sql refuses SQL that touches one of the tables {"tables":["payroll",...]} of its configuration. A string of the
// arguments is SQL when it has a word such as select, and touches a table when it has the table's name as a word: in quotes,
// behind a schema, in a comment or in a literal too, since what these are differs between databases. Names that SQL puts
// together when it runs, and what views and procedures touch, cannot be seen here.
#include "../gatewright.h"

#define MOST 64 // tables, and bytes of a name
static struct {
    gw_u8 name[MOST];
    gw_u32 size;
} tables[MOST];
static gw_u32 count;

// letters has a bit for each letter that a table's name begins with.
static gw_u32 letters;

static const char *const verbs[] = {
    "alter", "analyze", "attach", "call", "copy", "create", "delete", "desc", "describe", "drop", "exec", "execute", "explain",
    "export", "grant", "handler", "import", "insert", "load", "lock", "merge", "rename", "replace", "revoke", "select", "show",
    "table", "truncate", "update", "upsert", "vacuum", "with",
};
#define VERBS (sizeof verbs / sizeof *verbs)
static gw_u8 begin[33]; // where the verbs of a letter begin: a filter pays for what it looks at

static gw_u8 lower(gw_u8 c) { return c >= 'A' && c <= 'Z' ? c | 32 : c; }

// part reports whether a byte may stand in a name. Names beyond ASCII are never a table's, but must not be cut.
static int part(gw_u8 c) { return gw_is_word(c) || c == '$' || c >= 0x80; }

static gw_u32 bit(gw_u8 c) { return 1u << (c & 31); }

static int is(gw_text word, const gw_u8 *name, gw_u32 size) {
    if (word.size != size) return 0;
    for (gw_u32 i = 0; i < size; i++)
        if (lower(word.at[i]) != name[i]) return 0;
    return 1;
}

__attribute__((noinline)) static int is_verb(gw_text word) {
    gw_u8 letter = word.at[0] & 31;
    if (!gw_is_word(word.at[0])) return 0;
    for (gw_u32 i = begin[letter]; i < begin[letter + 1]; i++) {
        gw_u32 n = 0;
        while (n < word.size && lower(word.at[n]) == (gw_u8)verbs[i][n] && verbs[i][n]) n++;
        if (n == word.size && !verbs[i][n]) return 1;
    }
    return 0;
}

// table returns which table a word names, or -1.
__attribute__((noinline)) static int table(gw_text word) {
    if (!(letters & bit(lower(word.at[0])))) return -1;
    for (gw_u32 i = 0; i < count; i++)
        if (is(word, tables[i].name, tables[i].size)) return (int)i;
    return -1;
}

// touched returns the first table that a text touches as SQL, or -1.
static int touched(gw_text t) {
    int sql = 0, found = -1;
    for (gw_u32 i = 0; i < t.size; i++) {
        gw_u32 from = i;
        while (i < t.size && part(t.at[i])) i++;
        if (i == from) continue;
        gw_text word = {t.at + from, i - from};
        if (!sql) sql = is_verb(word);
        if (found < 0) found = table(word);
        if (sql && found >= 0) return found;
    }
    return -1;
}

static void judge(const gw_context *c) {
    gw_walk w = gw_walk_of(c->body);
    while (gw_next(&w)) {
        int i = w.kind == GW_NUMBER ? -1 : touched(w.text);
        if (i < 0) continue;
        gw_buffer message = {0};
        gw_put(&message, GW_TEXT("the statement touches the table "));
        gw_put(&message, (gw_text){tables[i].name, tables[i].size});
        gw_put(&message, (gw_text){(const gw_u8 *)"", 1});
        gw_deny("sql_table", (const char *)message.at);
        return;
    }
}

// add takes a name of the configuration: an ASCII word, in lower case once it is kept.
static int add(gw_text name) {
    if (count == MOST || name.size < 1 || name.size > MOST) return 0;
    for (gw_u32 i = 0; i < name.size; i++) {
        if (!part(name.at[i]) || name.at[i] >= 0x80) return 0;
        tables[count].name[i] = lower(name.at[i]);
    }
    tables[count].size = name.size;
    letters |= bit(tables[count].name[0]);
    count++;
    return 1;
}

static int configure(gw_text config) {
    for (gw_u32 letter = 0; letter <= 32; letter++)
        for (gw_u32 i = 0; i < VERBS; i++) begin[letter] += (verbs[i][0] & 31u) < letter;
    gw_walk w = gw_walk_of(config);
    while (gw_next(&w))
        if (w.kind == GW_STRING && gw_same(w.member, "tables") && !add(w.text)) return 2; // no name of a table
    return count ? 0 : 1;                                                                 // without tables it would do nothing
}

GW_ON_REQUEST(judge)
GW_ON_INIT(configure)
