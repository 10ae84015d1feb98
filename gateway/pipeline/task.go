package pipeline

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Tasks are calls whose servers answer later (MCP 2025-11-25, tasks; SEP-2663). What a caller knows a task by is made here:
// the server's own id with all that its result is to be judged by, sealed for this caller alone. So nobody can guess the id of
// another's task, a stolen one is worth nothing, and what a restart must not lose is not kept. What is kept is a table for
// tasks/list and for the bound of one caller; a restart empties it, and a task comes back to it when it is asked for.
type Tasks struct {
	TTL    time.Duration // longest life; 24 hours when 0
	Poll   time.Duration // longest pause that callers are told to make; 1 minute when 0
	Wait   time.Duration // how long tasks/result waits; 50 seconds when 0
	MostOf int           // of one caller, ended ones included while listed; 100 when 0
	Most   int           // of all; 10,000 when 0

	aead cipher.AEAD

	mu   sync.Mutex // guards what follows
	of   map[string][]listedTask
	open int
}

// listedTask is a task as tasks/list shows it.
type listedTask struct {
	id, server string
	state      []byte
	older      bool // it is told in the words of the older era, which alone has lists of tasks
	ended      bool
	expires    time.Time
}

// NewTasks makes Tasks whose ids are sealed under a key of 32 bytes; ids outlive the process when the key does.
func NewTasks(key []byte) (*Tasks, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make the key of task ids: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make the key of task ids: %w", err)
	}
	return &Tasks{aead: aead, of: map[string][]listedTask{}}, nil
}

// Task is what a call has to do with tasks: it may become one, or it is about one that an earlier call became.
type Task struct {
	All    *Tasks
	ID     string        // as the caller knows it; "" of a call that may become one
	Own    string        // as the server knows it
	Older  bool          // the caller speaks 2025-11-25
	Modern bool          // the server speaks the extension of 2026-07-28
	Asked  bool          // an older server is asked to make the call a task
	TTL    time.Duration // asked for, or what it got when it began
	From   Origin        // the call that the task is
	// Hear has the filters see what a server says beside a result; it returns what may be handed on.
	Hear func(method string, params []byte) ([]byte, error)

	expires time.Time
}

// Origin is the call that became a task: what its result is judged by.
type Origin struct {
	Record   string      `json:"r"` // the admitted one
	PlanID   string      `json:"p,omitempty"`
	Plan     merkle.Hash `json:"h"` // its root
	Step     int         `json:"n,omitempty"`
	PlanEnds int64       `json:"e,omitempty"` // Unix seconds
	Labels   []string    `json:"l,omitempty"`
	Args     []byte      `json:"-"`
}

// TaskReply is the state of a task in the place of a result, or around it.
type TaskReply struct {
	ID    string // sealed
	State []byte // members of an object, without braces
	Holds bool   // Result or Error is what the call came to; else Result is an empty object
}

// MaxTaskArgs bounds the arguments of a call that becomes a task, in bytes: its id carries them, so that filters of its result
// see what they see of every call's.
const MaxTaskArgs = 4 << 10

// MaxTaskID bounds an id that callers show, in bytes.
const MaxTaskID = 10 << 10

// sealed is what an id holds, before the arguments.
type sealed struct {
	Server  string `json:"s"`
	Tool    string `json:"t"`
	Own     string `json:"i"`
	Modern  bool   `json:"m,omitempty"`
	Expires int64  `json:"x"` // Unix milliseconds
	TTL     int64  `json:"d"` // milliseconds
	Origin
}

func bearer(c *Call) []byte {
	return []byte("gatewright/task/v1\n" + strings.Join([]string{c.Caller.Tenant(), c.Caller.Session(), c.Caller.KeyID()}, "\n"))
}

// Begin makes the id of the task that the call became, which its server knows as own, and lists it.
func (k *Tasks) Begin(c *Call, own string, ttl time.Duration) {
	t := c.Task
	t.TTL, t.expires = ttl, c.Started.Add(ttl)
	t.Own, t.From = own, Origin{Record: c.first, Labels: c.Labels, Args: clone(c.Args)}
	if p := c.Planned(); p.InPlan {
		t.From.PlanID, t.From.Step = p.ID, p.Step
	}
	if c.Grant.Valid() {
		t.From.Plan, t.From.PlanEnds = c.Grant.PlanRoot(), c.Grant.PlanExpires()
	}
	head, err := json.Marshal(sealed{c.Server, c.Name, own, t.Modern, t.expires.UnixMilli(), ttl.Milliseconds(), t.From})
	if err != nil {
		panic(err) // texts and numbers
	}
	plain := binary.BigEndian.AppendUint32(nil, uint32(len(head))) //nolint:gosec // small by its parts
	plain = append(append(plain, head...), c.Args...)
	t.ID = base64.RawURLEncoding.EncodeToString(k.aead.Seal(nil, nil, plain, bearer(c)))
}

// Open finds the task that an id means, for the caller it was given to; nil when there is none such, or it has expired. It
// writes c.Server, c.Name and c.Task.
func (k *Tasks) Open(c *Call, id string) *Task {
	box, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(id) > MaxTaskID {
		return nil
	}
	plain, err := k.aead.Open(nil, nil, box, bearer(c))
	if err != nil || len(plain) < 4 || uint64(binary.BigEndian.Uint32(plain)) > uint64(len(plain)-4) {
		return nil
	}
	var s sealed
	n := 4 + int(binary.BigEndian.Uint32(plain))
	if json.Unmarshal(plain[4:n], &s) != nil || c.Started.UnixMilli() >= s.Expires {
		return nil
	}
	s.Args = plain[n:]
	c.Server, c.Name = s.Server, s.Tool
	c.Task = &Task{All: k, ID: id, Own: s.Own, Modern: s.Modern, From: s.Origin, TTL: time.Duration(s.TTL) * time.Millisecond, expires: time.UnixMilli(s.Expires)}
	return c.Task
}

// Follows says whether the call is about a task.
func (t *Task) Follows() bool { return t != nil && t.ID != "" }

// Room says whether the caller may have one more task.
func (k *Tasks) Room(c *Call) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.fresh(c)
	live := 0
	for i := range list {
		if !list[i].ended {
			live++
		}
	}
	if k.open >= or(k.Most, 10_000) {
		k.sweep(c.Started)
	}
	return live < or(k.MostOf, 100) && k.open < or(k.Most, 10_000)
}

// fresh is the caller's tasks that have not expired. k.mu is held.
func (k *Tasks) fresh(c *Call) []listedTask { return k.keep(string(bearer(c)), c.Started) }

func (k *Tasks) keep(who string, now time.Time) []listedTask {
	before := len(k.of[who])
	list := slices.DeleteFunc(k.of[who], func(l listedTask) bool { return !now.Before(l.expires) })
	k.open -= before - len(list)
	if len(list) == 0 {
		delete(k.of, who)
		return nil
	}
	k.of[who] = list
	return list
}

// sweep forgets what has expired. k.mu is held.
func (k *Tasks) sweep(now time.Time) {
	for who := range k.of {
		k.keep(who, now)
	}
}

// Note keeps the state of the call's task for tasks/list. When the caller has as many as may be, an ended one makes room, or
// the oldest: ids stay good.
func (k *Tasks) Note(c *Call, state []byte, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	who := string(bearer(c))
	list := k.fresh(c)
	n := listedTask{c.Task.ID, c.Server, clone(state), c.Task.Older, ended, c.Task.expires}
	for i := range list {
		if list[i].id == n.id {
			list[i] = n
			return
		}
	}
	if len(list) >= or(k.MostOf, 100) {
		at := max(0, slices.IndexFunc(list, func(l listedTask) bool { return l.ended }))
		list = slices.Delete(list, at, at+1)
		k.open--
	}
	if k.open >= or(k.Most, 10_000) {
		return // it is not listed, and its id is as good as others
	}
	k.of[who] = append(list, n)
	k.open++
}

// List calls f with the states of the caller's tasks on a server, or on all when server is "", the oldest first.
func (k *Tasks) List(c *Call, server string, f func(state []byte)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.fresh(c)
	for i := range list {
		if list[i].older && (server == "" || list[i].server == server) {
			f(list[i].state)
		}
	}
}

// Life is how long a task lives of which its server says ttl, 0 for no end.
func (k *Tasks) Life(ttl time.Duration) time.Duration {
	most := or(k.TTL, 24*time.Hour)
	if ttl <= 0 || ttl > most {
		return most
	}
	return ttl
}

// Pause is how long callers are told to wait between two looks at a task, of which its server says poll.
func (k *Tasks) Pause(poll time.Duration) time.Duration { return min(poll, or(k.Poll, time.Minute)) }

// Patience is how long tasks/result waits for the end of a task.
func (k *Tasks) Patience() time.Duration { return or(k.Wait, 50*time.Second) }

// name tells requests apart that are about tasks, or may become some.
func (t *Task) name() []byte {
	if t == nil {
		return nil
	}
	return fmt.Appendf(nil, "%s %t %d", t.ID, t.Asked, t.TTL)
}

// Bare says whether the reply is the state of a task and nothing that a call came to: what of it is a server's own words has
// passed the filters apart.
func (r Reply) Bare() bool { return r.Task != nil && !r.Task.Holds }

// body is what the record's digest of a reply is over.
func (r *TaskReply) body() []byte { return append(append([]byte{'{'}, r.State...), '}') }

// tasked says in the record of a call that it became a task, or is about one, by a print of the id that its caller knows.
func (c *Call) tasked(r *ledger.Record) {
	switch {
	case !c.Task.Follows():
	case r.Kind == ledger.Settled && c.Op == catalogue.CallTool:
		note(r, "task "+taskPrint(c.Task.ID)+" begun")
	default:
		note(r, "task "+taskPrint(c.Task.ID)+" of "+c.Task.From.Record)
	}
}

func taskPrint(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8])
}

// labelled takes labels for a session and no place in its count: a look at a task is no new work, and what filters find in its
// result belongs to the session all the same.
type labelled struct{ Counted }

// Uncounted is a place that keeps labels and counts nothing.
func Uncounted(place Counted) Counted { return labelled{place} }

// End frees the place.
func (l labelled) End(bool) { l.Counted.End(false) }
