package policy

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// recorded writes what the gateway seals of a question beside its record: canonical JSON, the arguments apart. The digest
// of the caller's snapshot stands for it.
func (r *request) recorded() []byte {
	return fmt.Appendf(nil, `{"action":"call_tool","addr":%q,"agent":%q,"labels":[],"now":%d,"principal":%q,"request":%q,"salt":"AAAAAAAAAAAAAAAAAAAAAA","server":%q,"tls":true,"tool":%q,"user":"usr_1"}`,
		r.ip, r.agent.id, r.now.UnixMicro(), r.snapshot(), hex.EncodeToString(make([]byte, 32)), r.tool.server, r.tool.name)
}

func (r *request) snapshot() string { return fmt.Sprintf("%064x", r.agent.index) }

// again decides the i-th request from its record and arguments, as a replay does: both are checked and read anew, and the
// caller is found by its snapshot's digest.
func (o *ours) again(i int) error {
	a, err := o.parse(o.records[i], o.w.requests[i].args)
	if err != nil {
		return err
	}
	if d := o.engine.Decide(&a); d.Allowed() != o.answers[i] {
		return fmt.Errorf("request %d is decided otherwise from its record: %q", i, d.Errors())
	}
	return nil
}

func (o *ours) parse(record, args []byte) (a policies.Ask, err error) {
	for _, text := range [][]byte{record, args} {
		if err := canon.Check(text, canon.DefaultLimits()); err != nil {
			return a, err
		}
	}
	a.Args, a.ArgsKnown = args, true
	texts := map[string]*string{"action": &a.Action, "server": &a.Server, "tool": &a.Tool, "user": &a.User}
	c := canon.NewCursor(record)
	for more := c.Enter(); more && err == nil; more = c.More() {
		switch key, value := c.Key(), c.Value(); string(key) {
		case "now":
			var now int64
			now, err = strconv.ParseInt(string(value), 10, 64)
			a.Now = time.UnixMicro(now)
		case "tls":
			a.TLS = string(value) == "true"
		case "addr":
			var text string
			if text, err = canon.Unquote(value); err == nil {
				a.IP, err = netip.ParseAddr(text)
			}
		case "principal":
			a.Principal = o.snapshots[string(value)]
		default:
			if to := texts[string(key)]; to != nil {
				*to, err = canon.Unquote(value)
			}
		}
	}
	return a, err
}
