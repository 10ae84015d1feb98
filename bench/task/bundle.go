package task

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatewright/gatewright/policies"
)

// Policies is how many policies are in force wherever the task is judged.
const Policies = 50

// WriteBundle makes a bundle folder of all the policies.
func WriteBundle(dir string) error { return errors.Join(writeShipped(dir), writeGenerated(dir)) }

// writeShipped makes a bundle folder of the files that ship with the gateway.
func writeShipped(dir string) error {
	b := policies.Default()
	for _, name := range b.Files() {
		data, _ := b.File(name)
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
	}
	return nil
}

// writeGenerated adds policies to the shipped ones until there are Policies: a few rules for every caller, one of
// which reads an argument, and for the rest rules of single teams, as a security team's repository has them. Because a
// rule that applies reads the arguments, no decision of the load can be answered from memory. The rules name the tool, so
// a gateway takes them only when it knows the tool.
func writeGenerated(dir string) error {
	shipped, err := policies.Compile(policies.Default(), nil)
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bench.cedar"), []byte(generated(Policies-shipped.Len())), 0o600); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// generated writes n policies.
func generated(n int) string {
	action := fmt.Sprintf("Action::%q", Server+"___"+Tool)
	rules := []string{
		`@id("amount-limit") forbid (principal, action == ` + action + `, resource) when { context.input.amount > 900000 };`,
		`@id("sensitive") forbid (principal, action in Action::"call_tool", resource) when { resource.sensitivity > 900 };`,
		`@id("quarantined") forbid (principal, action, resource) when { principal.labels.contains("quarantined") };`,
		`@id("runaway-plan") forbid (principal, action in Action::"call_tool", resource) when { context.plan.steps > 4096 };`,
	}
	for i := len(rules); i < n; i++ {
		rules = append(rules, fmt.Sprintf(`@id("team-%02d") %s (principal in Team::"team-%02d", action == %s, resource in Server::%q) when { context.input.amount > %d };`,
			i, []string{"permit", "forbid"}[i%2], i, action, Server, i*1000))
	}
	return strings.Join(rules[:n], "\n") + "\n"
}
