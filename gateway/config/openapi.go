package config

import "net/url"

// OpenAPI bounds the documents of servers that are APIs, and their answers.
type OpenAPI struct {
	// MaxDocument is the largest document. Default 8MiB: those of large public APIs have 5.
	MaxDocument Size `koanf:"max_document" min:"1KiB" max:"64MiB"`
	// MaxValues and MaxDepth bound what a document holds, YAML's aliases written out. Default 500000 and 64: a few lines of aliases
	// can stand for more than fits into memory.
	MaxValues int `koanf:"max_values" min:"16" max:"10000000"`
	MaxDepth  int `koanf:"max_depth" min:"8" max:"256"`
	// MaxOperations bounds a document's operations. Default 1000, as catalogue.max_tools: each is a tool.
	MaxOperations int `koanf:"max_operations" min:"1" max:"10000"`
	// MaxRefs bounds the schemas that one operation's input refers to. Default 200.
	MaxRefs int `koanf:"max_refs" min:"1" max:"10000"`
	// MaxAnswer is the largest body of an answer. Default 1MiB: a result holds it twice, as text and structured. Larger ones are
	// withheld, never cut.
	MaxAnswer Size `koanf:"max_answer" min:"1KiB" max:"64MiB"`
	// MaxBinary is the largest body that is neither JSON nor text; it becomes base64 in the result. Default 0B: such answers are
	// withheld. Danger: filters see base64 and not what is in it.
	MaxBinary Size `koanf:"max_binary" min:"0B" max:"64MiB"`
}

// validateDocument checks a server that is an API with an OpenAPI document.
func (s Server) validateDocument(u *url.URL, at string) error {
	switch {
	case s.OpenAPI == "" && s.Scheme != "":
		return problem(at+".scheme", "scheme in server: it names a security scheme of an openapi document")
	case s.OpenAPI == "":
		return nil
	case s.URL == "":
		return problem(at+".openapi", "openapi in server: the url of the API is required beside it; what a document says of servers is not read")
	case u.RawQuery != "":
		return problem(at+".url", "url in server: an API's has no query; operations have their own")
	case s.Via == "connector":
		return problem(at+".via", "via in server: an API with an openapi document runs in a process of its own anyway")
	case s.Era != "auto":
		return problem(at+".era", "era in server: an API with an openapi document does not speak MCP")
	case len(s.Env)+len(s.PassEnv)+len(s.Args) > 0 || s.Dir != "":
		return problem(at, "an API with an openapi document has no env, pass_env, args or dir: its process is the gateway's own program")
	case s.CallerCredentials:
		return problem(at+".caller_credentials", "caller_credentials in server: an API with an openapi document gets the one credential that is configured")
	case s.Scheme != "" && s.Credential == "":
		return problem(at+".scheme", "scheme in server: there is no credential for it; name one of the vault")
	}
	return nil
}

func (c Config) validateOpenAPI() error {
	if c.OpenAPI.MaxAnswer > c.Upstream.MaxReply && c.OpenAPI.MaxAnswer != Default().OpenAPI.MaxAnswer { // else max_reply bounds it too
		return problem("openapi.max_answer", "max_answer in openapi: %s is more than max_reply in upstream, %s", c.OpenAPI.MaxAnswer, c.Upstream.MaxReply)
	}
	if c.OpenAPI.MaxBinary > c.OpenAPI.MaxAnswer {
		return problem("openapi.max_binary", "max_binary in openapi: %s is more than max_answer, %s", c.OpenAPI.MaxBinary, c.OpenAPI.MaxAnswer)
	}
	return nil
}
