// Package conformance holds what the whole house is tested by: the rules of the house itself, and cases from outside run
// against the built gateway with clients, servers and vectors that nobody here wrote.
package conformance
