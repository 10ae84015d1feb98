package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// maxMails bounds the outbox; a full outbox refuses rather than forgets.
const maxMails = 500

type mail struct {
	ID      int    `json:"id"`
	To      string `json:"to"`
	Subject string `json:"subject"`
	Body    string `json:"body"`
}

// outbox keeps what would have been sent. Nothing leaves the process.
type outbox struct {
	mu    sync.Mutex
	mails []mail
}

const mailSchema = `{"type":"object","required":["id","to","subject","body"],"additionalProperties":false,"properties":{
	"id":{"type":"integer","minimum":1},"to":{"type":"string"},"subject":{"type":"string"},"body":{"type":"string"}}}`

func (o *outbox) tools() []tool {
	return []tool{
		describe("mail_send", "Send a mail",
			"Put a mail into the outbox and return it. Nothing is really sent; mail_outbox shows what was put there.",
			effect{destructive: true, openWorld: true}, `{"type":"object","required":["to","subject","body"],"additionalProperties":false,"properties":{
			"to":{"type":"string","maxLength":254,"pattern":"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$","description":"One address"},
			"subject":{"type":"string","minLength":1,"maxLength":200},
			"body":{"type":"string","maxLength":10000}}}`,
			mailSchema, o.send),
		describe("mail_outbox", "Show the outbox",
			"List the mails in the outbox, newest first, optionally only those to one address.",
			effect{readOnly: true, idempotent: true}, `{"type":"object","additionalProperties":false,"properties":{
			"to":{"type":"string","maxLength":254},
			"limit":{"type":"integer","minimum":1,"maximum":100,"default":20}}}`,
			`{"type":"object","required":["mails","total"],"additionalProperties":false,"properties":{
			"mails":{"type":"array","items":`+mailSchema+`},"total":{"type":"integer","minimum":0}}}`, o.list),
	}
}

type mailDraft struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Body    string `json:"body"`
}

func (o *outbox) send(_ context.Context, in mailDraft) (mail, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.mails) >= maxMails {
		return mail{}, fmt.Errorf("the outbox is full: it keeps %d mails", maxMails)
	}
	m := mail{ID: len(o.mails) + 1, To: in.To, Subject: in.Subject, Body: in.Body}
	o.mails = append(o.mails, m)
	return m, nil
}

type mailQuery struct {
	To    string `json:"to,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

type mailList struct {
	Mails []mail `json:"mails"`
	Total int    `json:"total"`
}

func (o *outbox) list(_ context.Context, in mailQuery) (mailList, error) {
	if in.Limit == 0 {
		in.Limit = 20
	}
	out := mailList{Mails: []mail{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range slices.Backward(o.mails) {
		if in.To != "" && v.To != in.To {
			continue
		}
		out.Total++
		if len(out.Mails) < in.Limit {
			out.Mails = append(out.Mails, v)
		}
	}
	return out, nil
}
