package policies_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

func TestWhatOnlyCedarGoTakesIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`forbid (principal, action, resource) when { resource is Toool };`:                              `p.cedar:1:57: policy p.cedar#0: Toool is no type of entity, so nothing is one (did you mean Tool?)`,
		`forbid (principal, action, resource) unless { principal is Agnet in Team::"ops" };`:            `did you mean Agent?`,
		`forbid (principal, action, resource) when { if principal is Ns::Agent then true else false };`: `Ns::Agent is no type of entity`,
		`permit (principal, action, resource) when { decimal("+1.0") == decimal("1.0") };`:              `decimal("+1.0"): a decimal has no plus`,
	} {
		_, err := policies.Compile(bundle(t, text), demoTools())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if _, err := policies.CompileOverlay("terms", []byte(text)); err == nil {
			t.Errorf("an overlay says %s", text)
		}
	}
	compile(t, `permit (principal, action, resource) when { principal is Agent && !(principal.status is Status && resource is Organization) || action is Action };`)
}
