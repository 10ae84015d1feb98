package control

// codes is the closed list of what the code member of a problem may say; the OpenAPI document shows it. A test reads the
// package's source and fails when a code is used that is not here, or is here and used nowhere.
var codes = []string{
	"audit_unavailable", "body_invalid", "body_refused", "body_too_large", "bundle_refused", "busy", "conflict",
	"connector_failed", "content_type_refused", "cursor_invalid", "exists", "filter_rejected", "final", "findings", "fixed", "held", "host_refused", "idempotency_invalid",
	"idempotency_mismatch", "idempotency_running", "inactive", "instance_only", "instance_tenant", "internal", "last_admin",
	"length_required", "limit_reached", "login_refused", "method_not_allowed", "not_acceptable", "not_found", "not_yet", "organization_mismatch",
	"origin_refused", "path_invalid", "pruned", "query_invalid", "request_invalid", "retention_refused", "role_denied", "shown_once", "unauthenticated",
	"upstream_failed", "wrong_key_kind",
}
