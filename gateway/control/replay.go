package control

import (
	"container/list"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

// maxReplayKey bounds an Idempotency-Key, in bytes: a UUID with a prefix fits four times.
const maxReplayKey = 128

// replayKey is what makes two requests the same one: the credential that sent them, the route, and the key they chose.
type replayKey struct{ tenant, key, op, chosen string }

// replay is a call that had its intent recorded, and its answer once there is one.
type replay struct {
	key    replayKey
	digest [32]byte
	at     time.Time
	record string
	answer *answer // nil while the call runs
	secret bool    // the answer held a secret and was not kept
}

// replays keeps the answers of calls that carried an Idempotency-Key, so that a retry has no second effect. It is
// bounded in number and time and lives in memory: after a restart a retry is a new call.
type replays struct {
	limit int
	keep  time.Duration

	mu   sync.Mutex // guards all below
	byID map[replayKey]*list.Element
	ages *list.List // of *replay, oldest first
}

func newReplays(limit int, keep time.Duration) *replays {
	return &replays{limit: limit, keep: keep, byID: map[replayKey]*list.Element{}, ages: list.New()}
}

// enter claims the key for a call. It returns the kept replay when there is one to answer with, or a refusal.
func (s *replays) enter(k replayKey, digest [32]byte, record string, now time.Time) (*replay, *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if e, ok := s.byID[k]; ok {
		r, _ := e.Value.(*replay)
		switch {
		case r.digest != digest:
			return nil, refuse(http.StatusUnprocessableEntity, "idempotency_mismatch", "this Idempotency-Key came with another request before", "choose a new key for a new request")
		case r.answer == nil && !r.secret:
			return nil, refuse(http.StatusConflict, "idempotency_running", "the first request with this Idempotency-Key has no answer yet", "try again later")
		case r.secret:
			return nil, refuse(http.StatusConflict, "shown_once", "this request was answered before with a secret that is not kept; its record is "+r.record, "revoke what it made and ask again with a new key")
		}
		return r, nil
	}
	if s.ages.Len() >= s.limit && !s.evict() {
		return nil, refuse(http.StatusServiceUnavailable, "busy", "too many requests with an Idempotency-Key are running", "try again later")
	}
	s.byID[k] = s.ages.PushBack(&replay{key: k, digest: digest, at: now, record: record})
	return nil, nil
}

// leave ends what enter began: with the answer when the call had an effect or may have had one, with nil to forget it.
func (s *replays) leave(k replayKey, a *answer, secret bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byID[k]
	if !ok {
		return
	}
	r, _ := e.Value.(*replay)
	switch {
	case a == nil:
		s.drop(e)
	case secret:
		r.secret = true
	default:
		r.answer = a.copy()
	}
}

// expire drops what is older than keep; a running call stays. The caller holds mu.
func (s *replays) expire(now time.Time) {
	for e := s.ages.Front(); e != nil; {
		r, _ := e.Value.(*replay)
		next := e.Next()
		if now.Sub(r.at) < s.keep {
			return
		}
		if r.answer != nil || r.secret {
			s.drop(e)
		}
		e = next
	}
}

// evict drops the oldest call that is not running. The caller holds mu.
func (s *replays) evict() bool {
	for e := s.ages.Front(); e != nil; e = e.Next() {
		if r, _ := e.Value.(*replay); r.answer != nil || r.secret {
			s.drop(e)
			return true
		}
	}
	return false
}

func (s *replays) drop(e *list.Element) {
	r, _ := e.Value.(*replay)
	delete(s.byID, r.key)
	s.ages.Remove(e)
}

// replayKeyOf reads the Idempotency-Key of a POST. Other methods are idempotent as they stand, and the header is not
// looked at there.
func replayKeyOf(r *http.Request, c *call) (replayKey, *problem) {
	values := r.Header.Values("Idempotency-Key")
	if r.Method != http.MethodPost || len(values) == 0 {
		return replayKey{}, nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > maxReplayKey || !visible(values[0]) {
		return replayKey{}, refuse(http.StatusBadRequest, "idempotency_invalid", "Idempotency-Key must be one value of 1 to 128 visible ASCII characters", "a UUID will do")
	}
	return replayKey{c.caller.Tenant(), c.caller.KeyID(), c.route.Op, values[0]}, nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// requestDigest tells two requests apart that carry the same Idempotency-Key.
func requestDigest(r *http.Request, body []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(r.URL.RequestURI()))
	h.Write([]byte{0})
	h.Write(body)
	return [32]byte(h.Sum(nil))
}
