package mcp

// What both ways between two processes carry.
var (
	NewRequest = newRequest
	NewReply   = newReply
	Payload    = payload
)
