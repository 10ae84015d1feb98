package abi

import (
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
)

// settleJSON writes what is missing of the JSON form before the body. The order of the members is part of what filters are
// promised.
func (c *Context) settleJSON() {
	if len(c.json.head) == 0 {
		c.json.head = c.appendHead(c.json.head)
	}
	if len(c.json.labels) == 0 {
		b := append(c.json.labels, `,"labels":[`...)
		for i, label := range c.Labels {
			if i > 0 {
				b = append(b, ',')
			}
			b = canon.AppendString(b, label)
		}
		b = append(append(b, `],"`...), c.Phase.Member()...)
		c.json.labels = append(b, `":`...)
	}
}

func (c *Context) appendHead(b []byte) []byte {
	b = append(append(b, `{"abi":1,"phase":"`...), c.Phase.String()...)
	b = canon.AppendString(append(b, `","tenant":`...), c.Tenant)
	b = canon.AppendString(append(b, `,"agent":`...), c.Agent)
	b = canon.AppendString(append(b, `,"user":`...), c.User)
	b = canon.AppendString(append(b, `,"op":`...), c.Op)
	b = canon.AppendString(append(b, `,"server":`...), c.Server)
	b = canon.AppendString(append(b, `,"tool":`...), c.Tool)
	b = strconv.AppendInt(append(b, `,"now":`...), c.Now, 10)
	if !c.Plan.In {
		return append(b, `,"plan":null`...)
	}
	b = canon.AppendString(append(b, `,"plan":{"id":`...), c.Plan.ID)
	return append(strconv.AppendInt(append(b, `,"step":`...), int64(c.Plan.Step), 10), '}')
}

func (c *Context) sizeJSON() int {
	c.settleJSON()
	return len(c.json.head) + len(c.json.labels) + len(c.object()) + len("}")
}

func (c *Context) putJSON(dst []byte) int {
	n := copy(dst, c.json.head)
	n += copy(dst[n:], c.json.labels)
	n += copy(dst[n:], c.object())
	dst[n] = '}'
	return n + 1
}
