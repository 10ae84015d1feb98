// Package armoriq translates the policy forms of ArmorIQ's clients into Cedar that only narrows, and into rates.
//
// What comes out is forbid policies for an overlay (policies.CompileOverlay): a caller or an administrator can take away
// from what the tenant's bundle allows, never add to it. Every policy is about work, that is whatever reaches a server:
// calls of tools, prompts, reads of resources.
//
// Nothing is guessed. A member that is not known, of the wrong type, empty where empty could mean all or nothing, or a
// condition that Cedar cannot say is a Problem with a JSON Pointer, and nothing is translated. Where a form can only be
// met from one side, it is met from the strict one: a refusal covers at least what is refused there, a permission at most
// what is permitted there (see pair, in condition.go).
//
// Three forms are read:
//
//   - what a client gives with a plan (Policy): allow, deny, allowed_tools, denied_tools, rate_limit, ip_whitelist,
//     time_restrictions, priority, statements; see policy.go, pattern.go and when.go;
//   - entries of a policy snapshot (Profile): allowedTools and amounts; see snapshot.go;
//   - a profile armor.policy.v1 (Profile): statements that permit, forbid or ask for approval; see statement.go.
//
// The package is pure: no clock, no memory, the same text in and out.
package armoriq
