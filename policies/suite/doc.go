// Package suite runs the tests that a security team keeps beside its policies: *.txtar files in the folder tests of a
// bundle. Nothing but JSON and text is needed to write one.
//
// A file holds sections, each with a name between dashes:
//
//	What this file is about, in words.
//	-- tools --
//	[{"server": "db", "name": "query", "inputSchema": {"type": "object", "properties": {"table": {"type": "string"}}}}]
//	-- principal ada --
//	{"teams": ["data"], "trust": 700}
//	-- case payroll is closed to everybody --
//	{"principal": "ada", "server": "db", "tool": "query", "args": {"table": "payroll"}, "want": "deny", "by": ["no-payroll"]}
//
// Tools and principals that several files share stand in tests/tools.json and tests/principals.json; a file's own come on
// top. A case is one call and what must become of it. What it leaves out has a value that is written down at Case and
// Principal, so that a case says what it is about and no more.
//
// Coverage is counted in conditions: each policy has to be seen to apply, and each of its conditions to hold and to fail.
package suite
