// noop lets every call pass and reads nothing of it.
import { answer, PASS } from "./guest";
export { gw_abi_1, gw_alloc } from "./guest";

export function gw_decide(at: u32, n: u32): u64 {
  return answer(PASS);
}
