package stages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// Upstreams carries a request to a server and brings its answer back.
type Upstreams interface {
	Call(ctx context.Context, t *upstream.Target, r *upstream.Request, reply *upstream.Reply) error
}

// Targets finds where a tenant's server is and how the gateway proves itself to it.
type Targets interface {
	Target(ctx context.Context, tenant, server string) (*upstream.Target, error)
}

// Forward takes an admitted call to its server. What goes out is built here anew: the name and the very argument bytes
// that were judged, what of the client's _meta was judged, a well-formed traceparent, and the gateway's own credential. Nothing of
// the client's header travels.
type Forward struct {
	Client  Upstreams
	Servers Targets
	Rounds  *pipeline.Rounds // nil: what a server asks is not handed on
}

// Forward fills c.Reply.
func (s Forward) Forward(ctx context.Context, c *pipeline.Call) error {
	t, err := s.Servers.Target(ctx, c.Caller.Tenant(), c.Server)
	if err == nil && t.As != nil {
		t, err = t.As(ctx, upstream.Subject{User: c.Caller.User(), Agent: c.Caller.Agent()})
	}
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		return upstreamDenial(err)
	}
	if err != nil {
		return pipeline.Deny(pipeline.UpstreamDown, "the server is not there any more, or its credential is not in the vault").Because(err)
	}
	if c.Sent == nil {
		c.Sent, c.Carried = new(upstream.Request), new(upstream.Reply)
	}
	principal := c.Caller.Session()
	if c.Lent.Value != "" {
		if !t.TakesCallers {
			return pipeline.Deny(pipeline.CredentialRefused, "")
		}
		own, lent := *t, c.Lent
		own.Headers, own.Refused = func(add func(name, value string)) { add(lent.Header, lent.Value) }, nil
		t = &own
		principal += "+" + lentPrint(c.Lent)
	}
	if ofTask(c) {
		return s.follow(ctx, c, t, principal)
	}
	if err := compose(c, principal); err != nil {
		return err
	}
	var open *held
	if s.mayAsk(c, t) {
		open, err = s.heldCall(ctx, c, t)
	} else {
		err = s.call(ctx, c, t)
	}
	if err != nil {
		if e, ok := errors.AsType[*upstream.Error](err); ok && e.Kind == upstream.Invalid && c.Input != nil {
			return pipeline.Deny(pipeline.Malformed, "this server asked for no input that could be answered this way").Because(err)
		}
		if _, ok := errors.AsType[*pipeline.Denial](err); ok {
			return err
		}
		return upstreamDenial(err)
	}
	reply := c.Carried
	if began, ok, err := begun(c, reply); ok {
		c.Reply = began
		return err
	}
	result := reply.Result
	if kind, ok := canon.Get(result, "resultType"); ok && string(kind) != `"complete"` {
		if result, err = s.asked(c, reply, open); err != nil {
			if open != nil {
				open.End()
			}
			return err
		}
	}
	c.Reply = pipeline.Reply{Status: reply.Status, Result: result, Error: reply.Error}
	return nil
}

// compose makes the request that a call is, in c.Sent.
func compose(c *pipeline.Call, principal string) error {
	req := c.Sent
	var state []byte
	if c.Round != nil {
		state = c.Round.State()
	}
	*req = upstream.Request{Method: c.Op, Name: c.Name, Arguments: c.Args, Meta: metaOf(c), Principal: principal,
		Capabilities: c.Can, InputResponses: c.Input, RequestState: state, Peer: c.Peer}
	switch c.Op {
	case catalogue.ReadResource:
		req.Arguments = nil
	case "completion/complete", "logging/setLevel": // all that it says was judged as its arguments
		req.Name, req.Arguments, req.Params = "", nil, c.Args
	}
	if c.Tool != nil && c.Tool.Mirrors() {
		req.Mirror = func(add func(name, value string)) { c.Tool.Mirror(c.Args, add) }
	}
	return asTask(c, req)
}

// rounds bounds how often a server may ask in one call of an older client.
const rounds = 8

// call makes the call, and with a client of the older era the rounds that a modern server wants: the client is asked at once,
// and the call made again with its answers.
func (s Forward) call(ctx context.Context, c *pipeline.Call, t *upstream.Target) error {
	req, reply := c.Sent, c.Carried
	for range rounds {
		if err := s.Client.Call(ctx, t, req, reply); err != nil {
			return err
		}
		if err := wellShaped(reply); err != nil {
			return err
		}
		if !reply.InputRequired() || c.Can != nil || c.Peer == nil || c.Peer.Capabilities() == nil {
			return nil
		}
		answers, err := ask(ctx, c.Peer, reply.Result)
		if err != nil {
			return err
		}
		state, _ := canon.Get(reply.Result, "requestState")
		req.InputResponses, req.RequestState = answers, bytes.Clone(state)
	}
	return pipeline.Deny(pipeline.UpstreamRefused, "the server asks without an end")
}

// ask puts the questions of a result to a client, one after the other, and returns its answers under their names.
func ask(ctx context.Context, client upstream.Peer, result []byte) ([]byte, error) {
	questions, _ := canon.Get(result, "inputRequests")
	b := []byte{'{'}
	if questions == nil {
		return append(b, '}'), nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := canon.Each(questions, func(key, question []byte) error {
		method, _ := canon.Get(question, "method")
		capability, known := askable[string(method)]
		if !known || !has(client.Capabilities(), capability) {
			return pipeline.Deny(pipeline.UpstreamMalformed, "the server asks what this client cannot answer").WithReason("malformed: it asks beyond the client's capabilities")
		}
		params, _ := canon.Get(question, "params")
		answer, _ := client.Answer(ctx, string(method[1:len(method)-1]), params)
		if answer == nil {
			return pipeline.Deny(pipeline.UpstreamRefused, "the server asks for input, and the client gave none")
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(canon.AppendString(b, string(key)), ':'), answer...)
		return nil
	})
	return append(b, '}'), err
}

// answerTime is how long the questions of one round may take: as long as upstream.answer_timeout is by default.
const answerTime = 5 * time.Minute

// asked is a result that hands a server's questions on to a client that can be asked them, under a state of ours instead of
// the server's. open is the call that is held for their answers; nil when the server is called anew with them.
func (s Forward) asked(c *pipeline.Call, reply *upstream.Reply, open *held) ([]byte, error) {
	questions, _ := canon.Get(reply.Result, "inputRequests")
	state, stated := canon.Get(reply.Result, "requestState")
	switch {
	case !reply.InputRequired():
		return nil, pipeline.Deny(pipeline.UpstreamMalformed, "").WithReason("malformed: a result of a type that is not known")
	case s.Rounds == nil || c.Can == nil:
		return nil, pipeline.Deny(pipeline.UpstreamRefused, "the server asks for input, and this client cannot be asked")
	case questions != nil && canon.KindOf(questions) != '{', stated && canon.KindOf(state) != '"', questions == nil && !stated:
		return nil, pipeline.Deny(pipeline.UpstreamMalformed, "").WithReason("malformed: input_required without questions or state")
	}
	if questions != nil {
		if err := s.askable(c, questions); err != nil {
			return nil, err
		}
	}
	shown, err := s.next(c, state, open)
	if err != nil {
		return nil, err
	}
	b := canon.AppendString([]byte(`{"requestState":`), shown)
	err = canon.Each(reply.Result, func(key, value []byte) error {
		if string(key) != "requestState" {
			b = canon.AppendString(append(b, ','), string(key))
			b = append(append(b, ':'), value...)
		}
		return nil
	})
	return append(b, '}'), err
}

// askable refuses questions that a client did not say it can be asked.
func (s Forward) askable(c *pipeline.Call, questions []byte) error {
	return canon.Each(questions, func(_, question []byte) error {
		method, _ := canon.Get(question, "method")
		if capability, known := askable[string(method)]; !known || !has(c.Can, capability) {
			return pipeline.Deny(pipeline.UpstreamMalformed, "the server asks what this client cannot answer").WithReason("malformed: it asks beyond the client's capabilities")
		}
		return nil
	})
}

// next is the state that the client comes back with.
func (s Forward) next(c *pipeline.Call, state []byte, open *held) (string, error) {
	if open == nil {
		return s.Rounds.Ask(c, state), nil
	}
	shown, ok := s.Rounds.Hold(c, open)
	if !ok {
		d := pipeline.Deny(pipeline.UpstreamBusy, "too many calls wait for what their callers are asked").WithReason("no room to hold the call")
		d.Hint, d.Uncertain = "answer what your other calls ask, or let them end, and check what this one did before you make it again", true
		return "", d
	}
	return shown, nil
}

// askable are the questions of MCP 2026-07-28 and the capability of a client that each asks for.
var askable = map[string]string{
	`"elicitation/create"`: "elicitation", `"sampling/createMessage"`: "sampling", `"roots/list"`: "roots",
}

func has(object []byte, member string) bool {
	_, ok := canon.Get(object, member)
	return ok
}

// lentPrint tells sessions with a server apart by the credential that the caller lent for them.
func lentPrint(c pipeline.Credential) string {
	sum := sha256.Sum256([]byte(c.Header + "\n" + c.Value))
	return hex.EncodeToString(sum[:16])
}

// wellShaped lets only one object pass, a result or an error: the dialects build on it.
func wellShaped(r *upstream.Reply) error {
	body := r.Result
	if r.Error != nil {
		body = r.Error
	}
	if n := len(body); (r.Result == nil) == (r.Error == nil) || n < 2 || body[0] != '{' || body[n-1] != '}' {
		d := pipeline.Deny(pipeline.UpstreamMalformed, "").WithReason("malformed: the answer is not one object")
		d.Uncertain = true
		return d
	}
	return nil
}

// upstreamCodes gives each kind of upstream failure the code that the caller is told.
var upstreamCodes = map[upstream.Kind]pipeline.Code{
	upstream.Unreachable: pipeline.UpstreamDown, upstream.Timeout: pipeline.UpstreamTimeout, upstream.TooLarge: pipeline.UpstreamTooLarge,
	upstream.Malformed: pipeline.UpstreamMalformed, upstream.Redirect: pipeline.UpstreamRefused, upstream.BlockedAddress: pipeline.UpstreamDown,
	upstream.Status: pipeline.UpstreamRefused, upstream.Canceled: pipeline.UpstreamTimeout, upstream.CircuitOpen: pipeline.UpstreamDown, upstream.Busy: pipeline.UpstreamBusy,
	upstream.Unproved: pipeline.LoginRequired,
}

func upstreamDenial(err error) error {
	var e *upstream.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("call upstream: %w", err)
	}
	code, ok := upstreamCodes[e.Kind]
	if !ok {
		return fmt.Errorf("call upstream: %w", err)
	}
	said := ""
	if e.Kind == upstream.Unproved {
		said = e.Detail // the gateway's own words, and what to do
	}
	d := pipeline.Deny(code, said).WithReason(string(e.Kind) + ": " + e.Detail).Because(err)
	d.Uncertain = e.Sent
	return d
}
