// calls does little but call: the 20th Fibonacci number, 21,891 calls of a tiny function.
import { answer, DENY, PASS } from "./guest";
export { gw_abi_1, gw_alloc } from "./guest";

function fib(n: u32): u32 {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

export function gw_decide(at: u32, n: u32): u64 {
  return answer(fib(n ? 20 : 1) == 6765 ? PASS : DENY);
}
