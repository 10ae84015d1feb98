// The filter ABI "gw 1" and the little of C that a filter without a library needs.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(#name)))

// RARE keeps a function out of the loops that call it: metered code pays for a loop by the length of its body, taken or not.
#define RARE __attribute__((noinline))
#define PAGE 65536u

// The first byte behind the stack and the static data; the linker sets it.
extern u8 __heap_base;

static inline u32 heap_base(void) { return ((u32)&__heap_base + 15u) & ~15u; }

// reserve makes sure that memory reaches up to end, with room to read 32 bytes past it.
static inline int reserve(u64 end) {
    u64 want = (end + 32 + PAGE - 1) / PAGE, have = __builtin_wasm_memory_size(0);
    return want <= have || (want <= 65536 && __builtin_wasm_memory_grow(0, (u32)(want - have)) != (u32)-1);
}

static inline u64 load8(const u8 *p) {
    u64 x;
    __builtin_memcpy(&x, p, 8);
    return x;
}

static inline u32 load4(const u8 *p) {
    u32 x;
    __builtin_memcpy(&x, p, 4);
    return x;
}

static inline u32 load2(const u8 *p) { return p[0] | (u32)p[1] << 8; }

static inline void store8(u8 *p, u64 x) { __builtin_memcpy(p, &x, 8); }

// Eight bytes at once: a mask has the high bit of each byte that is meant, and no others.
#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

// zeros is exact up to its first mark, which is all that most callers look at; bytes of one may follow as false marks.
static inline u64 zeros(u64 x) { return (x - ONES) & ~x & HIGHS; }
static inline u64 equals(u64 x, u8 c) { return zeros(x ^ (ONES * c)); }

// between marks the bytes from `low` to `high`; x holds no byte beyond ASCII.
static inline u64 between(u64 x, u8 low, u8 high) { return (x + ONES * (128u - low)) & ~(x + ONES * (127u - high)) & HIGHS; }

static inline u32 first_of(u64 mask) { return (u32)__builtin_ctzll(mask) >> 3; }

// begins reports whether a word, as load8 gives it, begins with a literal of up to eight bytes.
#define begins(word, literal) begins_with(word, literal, sizeof(literal) - 1)
static inline __attribute__((always_inline)) int begins_with(u64 word, const char *literal, u32 n) {
    u64 want = 0;
    for (u32 i = 0; i < n; i++) want |= (u64)(u8)literal[i] << 8 * i;
    return n < 8 ? !((word ^ want) << (64 - 8 * n)) : word == want;
}

// closes reports whether a word ends with a literal of up to eight bytes.
#define closes(word, literal) closes_with(word, literal, sizeof(literal) - 1)
static inline __attribute__((always_inline)) int closes_with(u64 word, const char *literal, u32 n) {
    u64 want = 0;
    for (u32 i = 0; i < n; i++) want |= (u64)(u8)literal[i] << (64 - 8 * (n - i));
    return !((word ^ want) >> (64 - 8 * n));
}

// same compares n bytes.
static inline int same(const u8 *p, const char *with, u32 n) {
    for (; n && *p == (u8)*with; n--, p++, with++) {
    }
    return !n;
}
