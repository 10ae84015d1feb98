// Package policies answers one question: may this principal do this, now, with these arguments?
//
// A Bundle is what a security team keeps in git: Cedar files, an optional schema of their own, a manifest. Compile
// turns it, together with the tools a tenant can reach, into an Engine; Engine.Decide answers an Ask with a Decision.
// The package is the only door to cedar-go: no Cedar type leaves it.
//
// Everything fails closed. The zero Decision refuses, a nil Engine refuses, a forbid that cannot be evaluated refuses, a
// panic refuses. An Engine is immutable once compiled and safe for concurrent use.
package policies
