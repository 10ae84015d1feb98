// loop reads every byte of a call: FNV-1a over all of it, which is refused when the sum is 0.
#include "guest.h"

EXPORT(gw_decide) u64 gw_decide(u32 at, u32 n) {
    const u8 *p = (const u8 *)at;
    u32 sum = 2166136261u;
    for (u32 i = 0; i < n; i++) sum = (sum ^ p[i]) * 16777619u;
    return sum ? PASS : DENY;
}
