// The kit for filters in C. It hides the ABI: a filter says what it does with a call, and reads and answers in plain C.
// Nothing is ever freed: memory goes back to what it was after gw_init when a call is over.
#pragma once

typedef unsigned char gw_u8;
typedef unsigned int gw_u32;
typedef unsigned long long gw_u64;
typedef long long gw_i64;

// gw_text is some bytes, which are UTF-8 wherever the gateway wrote them. They are only read.
typedef struct {
    const gw_u8 *at;
    gw_u32 size;
} gw_text;

// GW_TEXT makes a text of a literal.
#define GW_TEXT(literal) ((gw_text){(const gw_u8 *)(literal), sizeof(literal) - 1})

enum gw_phase { GW_REQUEST = 1, GW_RESPONSE = 2, GW_CHUNK = 3 };

// gw_context is what a filter is shown of one call.
typedef struct {
    enum gw_phase phase;
    gw_i64 now; // milliseconds since 1970
    gw_text tenant, agent, user, op, server, tool;
    int in_plan; // the call is a step of a plan: plan and step say which
    gw_text plan;
    gw_u32 step;
    gw_u32 labels; // how many the filters before this one put on the call
    gw_text body;  // arguments, result or chunk: a JSON object

    const gw_u8 *start, *table; // the kit's own
} gw_context;

// gw_label returns one of the labels; i must be below c->labels.
gw_text gw_label(const gw_context *c, gw_u32 i);

// What a filter answers. A call that nothing is said of passes.
void gw_deny(const char *reason, const char *message); // a-z 0-9 _, and words for people
void gw_reason(const char *reason);
void gw_add_label(const char *label);                  // a-z 0-9 : _ . -
void gw_add_score(const char *name, gw_u32 score);     // a-z 0-9 _, from 0 to 1000
void gw_rewrite(gw_text body);                         // goes on with this JSON object in place of the body

// gw_log writes a line to the filter's log, of which little is kept: level 0 is debug, 1 info, 2 warning, 3 error.
void gw_log(int level, gw_text text);

// gw_take returns memory for size bytes. It never fails: a filter without memory is stopped, and the call refused.
void *gw_take(gw_u32 size);

// gw_buffer is a text that grows.
typedef struct {
    gw_u8 *at;
    gw_u32 size, room;
} gw_buffer;

void gw_put(gw_buffer *b, gw_text text);
void gw_put_string(gw_buffer *b, gw_text text); // as a JSON string with its quotes
static inline gw_text gw_text_of(const gw_buffer *b) { return (gw_text){b->at, b->size}; }

// gw_walk visits the keys, strings and numbers of JSON, in order:
//
//     gw_walk w = gw_walk_of(c->body);
//     while (gw_next(&w)) ...
enum gw_kind { GW_KEY, GW_STRING, GW_NUMBER };
typedef struct {
    enum gw_kind kind;
    gw_text text;     // what it says, with no escapes left
    gw_u32 from, to;  // where it stands in the JSON, quotes included
    gw_u32 depth;     // how many objects and arrays are open around it
    gw_text member;   // the key at depth one that it belongs to

    const gw_u8 *start, *end, *p; // the kit's own
} gw_walk;

gw_walk gw_walk_of(gw_text json);
int gw_next(gw_walk *w);

// gw_edit copies JSON with some of its strings replaced.
typedef struct {
    gw_buffer out;
    gw_text json;
    gw_u32 done;
} gw_edit;

gw_edit gw_edit_of(gw_text json);
void gw_replace(gw_edit *e, const gw_walk *w, gw_text text); // what the walk stands at becomes the string text
gw_text gw_edited(gw_edit *e);

// Texts.
static inline int gw_is_word(gw_u8 c) {
    gw_u8 l = c | 32;
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_';
}
int gw_same(gw_text a, const char *b);                 // byte for byte
int gw_begins(gw_text t, gw_u32 at, const char *with); // what stands at `at`

// A filter is one, two or three of these lines at the end of its file.
#define GW_EXPORT(name) __attribute__((export_name(#name)))
#define GW_ON_REQUEST(function)                                   \
    GW_EXPORT(gw_decide) gw_u64 gw_decide(gw_u8 *at, gw_u32 size) \
    {                                                             \
        (void)size;                                               \
        gw_context c = gw_read(at);                               \
        function(&c);                                             \
        return gw_answer(&c);                                     \
    }
#define GW_ON_RESPONSE(function)                                            \
    GW_EXPORT(gw_on_response) gw_u64 gw_on_response(gw_u8 *at, gw_u32 size) \
    {                                                                       \
        (void)size;                                                         \
        gw_context c = gw_read(at);                                         \
        function(&c);                                                       \
        return gw_answer(&c);                                               \
    }
// The function takes the filter's configuration, which may be empty, and returns 0, or a code that refuses it.
#define GW_ON_INIT(function)                                                                           \
    GW_EXPORT(gw_init) int gw_init(const gw_u8 *at, gw_u32 size) { return function((gw_text){at, size}); }

// The kit's own.
gw_context gw_read(const gw_u8 *at);
gw_u64 gw_answer(const gw_context *c);
