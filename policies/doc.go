// Package policies answers one question: may this principal do this, now, with these arguments?
//
// A Bundle is what a security team keeps in git: Cedar files, additions to the schema, a manifest. Compile turns it,
// together with the tools a tenant can reach, into an Engine; Engine.Decide answers an Ask with a Decision. The package is
// the only door to cedar-go: no Cedar type leaves it.
//
// Everything fails closed. The zero Decision refuses, a nil Engine refuses, a forbid that cannot be evaluated refuses, an
// argument that a policy reads and cannot be shown refuses, a panic refuses. An Engine is immutable once compiled and safe
// for concurrent use.
//
// A forbid with @hold("why") does not deny for good: a call that is permitted but for such policies is Held, and may go on
// once people have approved exactly this call. An Overlay is policies of one tenant or one plan that only narrow what the
// bundle allows. An Outlook says what can be known of a tool's calls before any is made.
//
// A permit with @rate("10/1h") permits so many calls in any such span of time, and a forbid with it forbids what goes beyond
// it (rate.go); Decision.Rates says which count a call, and the caller of this package counts. So it is with
// context.session, which is counted elsewhere and comes in the Ask.
//
// The words a policy may use stand in default/schema.cedarschema; how JSON arguments become context.input stands at kind,
// in input.go. A tool SERVER/NAME is asked about as Action::"SERVER___NAME" in Action::"call_tool" on
// Tool::"SERVER/NAME" in Server::"SERVER"; a tool that the caller runs itself (Ask.Local), as Action::"call_tool".
//
// A decision costs the same with ten policies and ten thousand: an index finds the policies whose scopes fit (index.go),
// guards drop those that who asks for what already settles (guard.go), and what the others read decides how much of the
// context is built (reads.go) and whether the outcome can be remembered (engine.go). What a caller's own policies and
// arguments could make dear is added up before it is evaluated, and refused beyond a budget (cost.go).
package policies
