// Package toolschema writes the Cedar schema of an MCP server from the descriptions of its tools, in the shape of
// cedar-for-agents' mcp-schema-generator 0.6.0: one action a tool, with context.input typed from the tool's JSON Schema.
// Editors, validators and policies made for that shape then work on a server that stands behind this gateway. What the
// gateway's own engine reads is another schema (policies.Schema).
//
// The output has the official generator's text byte by byte, whatever the Options. Its option to merge equal types of
// several tools does not exist here. Where that generator writes a schema that is ambiguous, broken or not what the
// tool says, this one refuses:
//
//   - JSON that readers read differently: a key twice, a lone surrogate, a number no double holds;
//   - two tools of one name, of which it keeps the last;
//   - a tool named like an action of the stub, or a context named input, which it overwrites;
//   - names with blanks or comments around them, which it trims in one place and keeps in the other;
//   - two declarations of one name, or a type that hides a built-in type that others beside it mean;
//   - references that lead nowhere or in a circle, which it writes out;
//   - flattened names below a namespace of several words, whose references it leaves dangling;
//   - anything beyond the bounds of read.go.
//
// Where JSON Schema says what Cedar has no type for, both agree on an opaque entity type (Number, Float, Null, Unknown)
// that a policy can compare, and no more.
package toolschema
