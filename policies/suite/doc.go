// Package suite runs the tests that a security team keeps beside its policies: *.txtar files in the folder tests of a
// bundle. Nothing but JSON and text is needed to write one.
//
// A file begins with words about it, and holds sections, each under a line with its name between dashes, from the first
// column to the last:
//
//	What this file is about, in words.
//	-- tools --
//	[{"server": "db", "name": "query", "inputSchema": {"type": "object", "properties": {"table": {"type": "string"}}}}]
//	-- principal ada --
//	{"teams": ["data"], "trust": 700}
//	-- case payroll is closed to everybody --
//	{"principal": "ada", "server": "db", "tool": "query", "args": {"table": "payroll"}, "want": "deny", "by": ["no-payroll"]}
//
// Tools and principals that several files share stand in tests/tools.json (a list) and tests/principals.json (an object by
// name). All tools are known to all files, as they are to one tenant; a principal described in a file is known there only. A
// tool is written as MCP lists it, with its server beside it: a list copied from tools/list will do.
//
// A case is one call and what must become of it: "want" is allow, deny or hold, and "by" the ids of exactly the policies that
// decide. What it leaves out has a value that is written down at Case and Principal, so that a case says what it is about and
// no more. A call that is denied because something could not be evaluated is not denied by policy: such a case fails, unless
// it says "error": true.
//
// Members are spelt exactly as they are written down there. A file that looks like a test and would not be run, a line that
// looks like the head of a section and is none, an action, tool, kind or status that nobody knows: all of these are errors,
// for a test that says nothing passes.
//
// Coverage is counted in conditions: the scope of each policy has to fit some call, each policy has to be seen to apply, and
// each of its conditions to hold and to fail.
package suite
