package upstream

// maxResumes bounds how often one answer's stream is taken up again. Config.Timeout bounds them in time.
const maxResumes = 100

// resume goes on with an answer whose stream an older server broke off, as those do that work for long (MCP 2025-11-25,
// resumability): the request is not sent again, the stream is asked for from the last event that came. fail is how the
// stream ended.
func (c *Client) resume(cn *conn, fail *Error) *Error {
	j := &cn.job
	for tries := 0; fail.brokeOff && !j.s.modern && len(j.last) > 0 && tries < maxResumes; tries++ {
		pause := c.firstPause
		if j.retry > 0 {
			pause = max(j.retry, c.firstPause/2)
		}
		if c.now().Add(pause).After(c.watch.deadline(cn)) {
			return &Error{Kind: Timeout, Detail: "the server asks for a pause beyond the time limit", gaveUp: true}
		}
		if !sleep(j.ctx, pause) {
			return canceled(j.ctx)
		}
		fresh, broken := c.open(j.ctx, j.p)
		if broken != nil {
			return broken
		}
		if !c.watch.swap(cn, fresh) {
			_ = fresh.net.Close()
			return fail // the watcher knows why
		}
		if fail = c.takeUp(cn); fail == nil {
			return nil
		}
	}
	return fail
}

// takeUp asks for the rest of the stream.
func (c *Client) takeUp(cn *conn) *Error {
	j := &cn.job
	cn.body = cn.body[:0]
	cn.head.reset(staticHead("GET", j.p.address))
	cn.head.session(j.s)
	cn.head.set("Last-Event-ID", string(j.last))
	if fail := cn.head.finish(j.t, -1); fail != nil {
		return fail
	}
	if err := cn.send(); err != nil {
		return fault(Unreachable, "the connection broke while sending")
	}
	if fail := cn.readHead(); fail != nil {
		return fail
	}
	cn.reader = cn.bodyReader(c.config.MaxResponse)
	if fail := cn.answer.fit(); fail != nil {
		return fail
	}
	if cn.answer.status != 200 || cn.answer.media != eventMedia {
		return fault(Unreachable, "the stream ended before the answer and cannot be resumed")
	}
	j.last, j.retry = append([]byte(nil), j.last...), 0
	return c.readAnswer(cn)
}

// swap puts another connection in the place of one that is watched, unless the exchange was ended.
func (w *watcher) swap(c, fresh *conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.watch.cause != nil {
		return false
	}
	_ = c.net.Close()
	c.net, c.in, c.probe = fresh.net, fresh.in, fresh.probe
	return true
}

// broke is how a stream ended that may be resumed.
func broke(why string) *Error {
	return &Error{Kind: Unreachable, Detail: why, brokeOff: true}
}

// mark keeps from where a stream can be resumed, and when.
func (j *job) mark(e *eventReader) {
	if len(e.id) > 0 {
		j.last = e.id
	}
	j.retry = e.retry
}
