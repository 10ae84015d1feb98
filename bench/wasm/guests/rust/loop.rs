// loop reads every byte of a call: FNV-1a over all of it, which is refused when the sum is 0.
#![no_std]
include!("guest.rs");

#[no_mangle]
pub extern "C" fn gw_decide(at: *const u8, n: usize) -> u64 {
    let mut sum = 2166136261u32;
    for b in unsafe { core::slice::from_raw_parts(at, n) } {
        sum = (sum ^ *b as u32).wrapping_mul(16777619);
    }
    answer(if sum != 0 { PASS } else { DENY })
}
