// calls does little but call: the 20th Fibonacci number, 21,891 calls of a tiny function.
#include "guest.h"

__attribute__((noinline)) static u32 fib(u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

EXPORT(gw_decide) u64 gw_decide(u32 at, u32 n) {
    (void)at;
    return fib(n ? 20 : 1) == 6765 ? PASS : DENY;
}
