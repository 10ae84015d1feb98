// loop reads every byte of a call: FNV-1a over all of it, which is refused when the sum is 0.
import { answer, DENY, PASS } from "./guest";
export { gw_abi_1, gw_alloc } from "./guest";

export function gw_decide(at: u32, n: u32): u64 {
  let sum: u32 = 2166136261;
  for (let p = at, end = at + n; p < end; p++) sum = (sum ^ load<u8>(p)) * 16777619;
  return answer(sum ? PASS : DENY);
}
