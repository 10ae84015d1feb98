package config

// Server is an MCP server calls are forwarded to: server "name" { ... }. It is reached in one of three ways, of which
// exactly one is set: url (over HTTP), command (a program that speaks MCP on its standard input and output), or connector
// (a program built with plugins/connector). The last two run as supervised processes of this tenant alone.
type Server struct {
	// Tenant is the organisation it belongs to; required. In development mode "demo" exists.
	Tenant string `koanf:"tenant"`
	// URL is its MCP endpoint, http or https, without user info or fragment.
	URL string `koanf:"url"`
	// Via says how URL is reached: "native" by the gateway itself, "connector" by a process of its own, so that a
	// fault in talking to this server stays there. Default native.
	Via string `koanf:"via" oneof:"native,connector"`
	// Command is a local MCP server: the program, found in PATH, and its arguments. No shell reads it.
	Command []string `koanf:"command"`
	// Connector is a connector program, and Args its arguments.
	Connector string   `koanf:"connector"`
	Args      []string `koanf:"args"`
	// SHA256 pins the program (hex): it is not started when its file is another one. Default none. Danger: an
	// interpreter's file, as of node or python, says nothing about the script it runs.
	SHA256 string `koanf:"sha256"`
	// Env is what the program sees, as NAME=value, and PassEnv names variables of the gateway passed on; nothing else
	// is. Default none, and PATH and HOME for a command. Danger: the program reads every secret named here.
	Env     []string `koanf:"env"`
	PassEnv []string `koanf:"pass_env"`
	// Dir is its working directory. Default: the gateway's.
	Dir string `koanf:"dir"`
	// Era is the protocol it speaks: "auto" asks it, "modern" is 2026-07-28, "legacy" has sessions, "sse" is the
	// oldest: sessions over HTTP+SSE. Default auto.
	Era string `koanf:"era" oneof:"auto,legacy,modern,sse"`
	// AllowPrivate permits this server a loopback, private or link-local address. Default false.
	AllowPrivate bool `koanf:"allow_private"`
	// PublicKeys are public keys, sha256/ and the base64 of the SHA-256 of their SubjectPublicKeyInfo (RFC 7469). The server's
	// chain must be valid and hold one of them. Default none. Danger: a server whose key changes is refused; pin the
	// next key before it is used.
	PublicKeys []string `koanf:"public_keys"`
	// Credential is the name of the secret in the tenant's vault sent with each call. Default none.
	Credential string `koanf:"credential"`
	// Header is the header that carries it. Default "Authorization".
	Header string `koanf:"header"`
	// Prefix stands before the secret. Default "", which in Authorization means "Bearer ".
	Prefix string `koanf:"prefix"`
	// Auth says how the gateway proves itself: "static" by Credential, if one is named; "client_credentials" as itself;
	// "authorization_code" as the user for whom an agent calls, who consents once; "token_exchange" as the agent, by a token of
	// the gateway's own about it. Default static.
	Auth string `koanf:"auth" oneof:"static,client_credentials,authorization_code,token_exchange"`
	// AuthIssuer is the only authorization server that is asked. Default "": the one that the server's metadata names.
	AuthIssuer string `koanf:"auth_issuer"`
	// ClientID is the gateway as it is registered there. Default "": with authorization_code the address of its metadata
	// document (oauth.client_document), or a registration made by itself.
	ClientID string `koanf:"client_id"`
	// ClientSecret and ClientKey name secrets of the tenant's vault: the client's password, or its private key in PEM. Default
	// none: a public client.
	ClientSecret string `koanf:"client_secret"`
	ClientKey    string `koanf:"client_key"`
	// AuthScopes are the most that is asked for. Default none: what the server asks for. Danger: without it a server decides how
	// much it may do with the tokens it gets.
	AuthScopes []string `koanf:"auth_scopes"`
	// AuthAudience goes with a token_exchange. Default none: the server's address says it.
	AuthAudience string `koanf:"auth_audience"`
	// CallerCredentials lets a caller show this server a credential of its own instead (X-Armoriq-MCP-Auth). Default
	// false: such a call is refused. Danger: the server then acts for whoever that credential names, and no policy here
	// sees whom.
	CallerCredentials bool `koanf:"caller_credentials"`
	// OpenAPI is the path of an OpenAPI document, JSON or YAML: the server is then the API at URL, and each of the document's operations
	// a tool. What the document says of servers is not read. Default none. SHA256 pins it.
	OpenAPI string `koanf:"openapi"`
	// Scheme is the document's security scheme that Credential is for. Default: the only one there is.
	Scheme string `koanf:"scheme"`
	// Pin is catalogue.pin for this server. Default "auto": what that says.
	Pin string `koanf:"pin" oneof:"auto,first_use,approve"`
	// Labels and Sensitivity are shown to policies. Default none and 0.
	Labels      []string `koanf:"labels"`
	Sensitivity int      `koanf:"sensitivity" min:"0" max:"1000"`
}
