// Package foreign brings Cedar policies written for other gateways into the words of this one.
//
//	ToolHive                                     here
//	Action::"call_tool", Tool::"x"               Action::"SERVER___x", Tool::"SERVER/x"
//	Action::"get_prompt", Prompt::"x"            in Action::"get_prompt", Prompt::"SERVER/x"
//	Action::"read_resource", Resource::"uri"     in Action::"read_resource", McpResource::"SERVER/uri"
//	no action                                    in Action::"work"
//	resource in MCP::"s"                         resource in Server::"s"
//	resource.arg_x, context.arg_x                context.input.x, where the scope names one tool
//	Client::"sub"                                whom Names.Clients says
//	principal in THVGroup::"g"                   principal in Team::"g"
//	principal.claim_roles.contains("r")          principal in Role::"r"
//	resource.readOnlyHint == true                resource.readOnly == true
//
//	AgentCore                                    here
//	AgentCore::Action::"T___x"                   Action::"T___x", Tool::"T/x"
//	action in AgentCore::Action::"T"             in Action::"call_tool", resource in Server::"T"
//	AgentCore::Gateway::"arn"                    this gateway: nothing, or the tool
//	principal is AgentCore::OAuthUser            anybody who is authenticated
//	principal.getTag("role") == "r"              principal in Role::"r"
//	context.input.x                              the same
//	context.system.now                           context.now
//
// A translated permit never allows a call that the original would not, given the same tools, types, people and groups; a
// translated forbid may deny more, because here a forbid that cannot be evaluated denies. What cannot be said in these
// words is refused at its place, and nothing is left out silently: notes say what people have to look after.
package foreign
