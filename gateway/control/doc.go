// Package control is the management face of the gateway: people and their automation look after organisations, users,
// agents, keys, servers, connectors, secrets, plans, tokens, revocations, bundles and the ledger here. It is the only
// door to huma (the OpenAPI document is made from the handlers) and to the prometheus client.
//
// A request passes one row of checks, in this order, and each can only refuse:
//
//	guard      Host, Origin, path spelling, query spelling        no credential is looked at before this
//	identify   one Bearer key -> identity.Caller                  401, counted per source, not one record each
//	kind       a runtime key opens no management route            403 wrong_key_kind
//	tenant     X-Organization-Id may only repeat the credential   403 organization_mismatch
//	route      the table in routes.go                             404, 405
//	role       the roles of that row                              403 role_denied
//	body       type, length, strict JSON, unknown members         4xx
//	record     see below
//	apply      the handler of the resource
//
// The tenant of a call is the tenant of its credential and nothing else. What belongs to another tenant answers exactly
// like what does not exist: 404 not_found.
//
// # Records
//
// Every authenticated call, reads and refusals too, stands in the tenant's ledger as a record of kind admin before its
// answer leaves the process; the answer is held back in memory until then. A read or a refusal is one record. A call that
// changes something is two, like a tool call on the data port: phase "intent" is durable before anything is changed, and
// phase "outcome" (its Of names the intent) says what came of it and which id was made or touched. An intent without an
// outcome therefore means "unknown": the process ended, or the ledger failed, in between. When a record cannot be
// appended the caller gets 503 audit_unavailable and no other answer; if it was the intent, nothing was changed.
//
// Three routes are open: /healthz, /readyz and /openapi.json. /metrics and profiles need no key from a peer on this
// machine that forwards for nobody, and leave no record then, since there is no tenant whose record it would be.
//
// Refusals before a credential is known are counted per source address and written to the chain of the _instance tenant
// as one record per window, so that a scanner cannot fill the disk.
package control
