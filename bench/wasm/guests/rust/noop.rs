// noop lets every call pass and reads nothing of it.
#![no_std]
include!("guest.rs");

#[no_mangle]
pub extern "C" fn gw_decide(_at: *const u8, _n: usize) -> u64 {
    answer(PASS)
}
