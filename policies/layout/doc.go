// Package layout reads Cedar text as tokens and lays it out anew. It never changes a token: Format moves white space and
// nothing else, keeps every comment beside the token that it stood beside, and looks at its own result before it gives it
// away. Laid out a second time, a text stays as it is.
package layout
