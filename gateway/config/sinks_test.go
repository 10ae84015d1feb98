package config_test

import (
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

func TestASinkThatCannotBeServedIsRefused(t *testing.T) {
	sink := func(lines string) string { return "sink \"a\" {\n" + lines + "\n}\n" }
	for lines, want := range map[string]string{
		`url = "tcp://h:1"`:                        `gateway.hcl:1:1: sink "a": tenant is required`,
		`tenant = "demo"`:                          `gateway.hcl:1:1: sink "a": url is required`,
		`tenant = "_other"`:                        `gateway.hcl:2:1: tenant in sink: want an organisation, or "_all", have "_other"`,
		`type = "kafka"`:                           `gateway.hcl:2:1: type in sink: want one of syslog, otlp, webhook, have "kafka"`,
		"tenant = \"_all\"\nurl = \"https://h/x\"": `gateway.hcl:3:1: url in sink: syslog wants udp or tcp or tls, a host, and no user info or fragment`,
		"tenant = \"_all\"\nurl = \"tcp://h\"":     `gateway.hcl:3:1: url in sink: syslog wants SCHEME://HOST:PORT and nothing after it`,
		"tenant = \"_all\"\ntype = \"otlp\"\nurl = \"https://u:p@h/\"":                      `gateway.hcl:4:1: url in sink: otlp wants http or https, a host, and no user info or fragment`,
		"tenant = \"_all\"\ntype = \"webhook\"\nurl = \"https://h/\"":                       `gateway.hcl:1:1: sink "a": a webhook needs secret_file or secret_env, to sign with`,
		"tenant = \"_all\"\ntype = \"otlp\"\nurl = \"https://h/\"\nheader = \"Api-Key\"":    `gateway.hcl:1:1: sink "a": header and the secret it carries are set together`,
		"tenant = \"_all\"\nurl = \"tcp://h:1\"\nsecret_file = \"k\"":                       `gateway.hcl:1:1: sink "a": syslog takes no secret`,
		"tenant = \"_all\"\nurl = \"tcp://h:1\"\nkinds = [\"settled\", \"nothing\"]":        `gateway.hcl:4:1: kinds in sink: there is no kind of record "nothing"`,
		"tenant = \"_all\"\nurl = \"tcp://h:1\"\nretry_min = \"2m\"":                        `gateway.hcl:4:1: retry_min in sink: 2m0s is longer than retry_max, 1m0s`,
		"tenant = \"_all\"\ntype = \"webhook\"\nurl = \"https://h/\"\nsecret_env = \"A=b\"": `gateway.hcl:5:1: secret_env in sink: want the name of a variable, not its value`,
	} {
		refused(t, sink(lines), want)
	}
	production := "mode = \"production\"\n"
	refused(t, production+sink("tenant = \"_all\"\nurl = \"tcp://10.0.0.1:601\""), `gateway.hcl:4:1: url in sink: production mode sends in the clear to loopback only; set plaintext to do it all the same`)
	for _, lines := range []string{
		"tenant = \"_all\"\nurl = \"tcp://10.0.0.1:601\"\nplaintext = true", "tenant = \"_all\"\nurl = \"udp://127.0.0.1:514\"",
		"tenant = \"demo\"\nurl = \"tls://h.example:6514\"\nkinds = [\"settled\"]",
		"tenant = \"demo\"\ntype = \"webhook\"\nurl = \"https://10.0.0.1/in?x=1\"\nsecret_file = \"k\"",
	} {
		if _, err := config.Parse("f", []byte(production+sink(lines))); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
}
