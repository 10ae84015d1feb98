package upstream

import "context"

// Subject is on whose behalf a call is made: a user, and the agent that acts for it.
type Subject struct{ User, Agent string }

// Refusal is what a server answered instead of looking at a request: HTTP 401, or 403.
type Refusal struct {
	Status int
	// Challenges are the WWW-Authenticate headers as they came, at most maxChallenges.
	Challenges []string
}

// Bounds of the challenges of one answer: servers send one or two of some 200 bytes.
const (
	maxChallenges = 4
	maxChallenge  = 4 << 10
)

// maxProofs bounds how often one message is sent again with another credential: once when the server wanted any, and once when
// it wanted more.
const maxProofs = 2

// exchange sends one message in a session and reads its answer into reply; a nil reply makes the message a notification. It is
// sent again only when the server refused to look at it and there is another credential to show.
func (c *Client) exchange(ctx context.Context, p *peer, t *Target, r *Request, s *session, reply *Reply) *Error {
	for tries := 0; ; tries++ {
		fail := c.exchangeOnce(ctx, p, t, r, s, reply)
		if fail == nil {
			return nil
		}
		if fail = t.another(ctx, fail, tries); fail != nil {
			return fail
		}
	}
}

// another looks for another credential after a failure, and returns nil when there is one to try. tries counts those before.
func (t *Target) another(ctx context.Context, fail *Error, tries int) *Error {
	if t.Refused == nil || !fail.unproved() {
		return fail
	}
	again, worse := t.Refused(ctx, Refusal{Status: fail.Code, Challenges: fail.challenges})
	switch {
	case worse != nil:
		fail = asFault(worse)
		fail.Sent = false // what was sent was not looked at
		return fail
	case !again || tries == maxProofs:
		return fail
	}
	return nil
}

// unproved tells of an answer that refuses the credential, or the want of one.
func (e *Error) unproved() bool { return e.Kind == Status && (e.Code == 401 || e.Code == 403) }

// refused is the failure that an answer's status stands for, with the challenges that came beside it.
func (h *responseHead) refused() *Error {
	fail := statusFault(h.status)
	fail.challenges = h.challenges
	return fail
}

// NoCredential makes the error of a server for which there is no credential that it takes. detail is for people and ends with
// what to do.
func NoCredential(detail string) *Error { return fault(Unproved, detail) }
