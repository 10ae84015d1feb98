// calls does little but call: the 20th Fibonacci number, 21,891 calls of a tiny function.
#![no_std]
include!("guest.rs");

#[inline(never)]
fn fib(n: u32) -> u32 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

#[no_mangle]
pub extern "C" fn gw_decide(_at: *const u8, n: usize) -> u64 {
    answer(if fib(if n > 0 { 20 } else { 1 }) == 6765 { PASS } else { DENY })
}
