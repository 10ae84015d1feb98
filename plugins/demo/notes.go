package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// maxNotes bounds the notebook: with the schema's limits on title, text and
// tags it holds under 6 MiB.
const maxNotes = 1000

type note struct {
	ID    int      `json:"id"`
	Title string   `json:"title"`
	Text  string   `json:"text"`
	Tags  []string `json:"tags"`
}

type noteList struct {
	Notes []note `json:"notes"`
	Total int    `json:"total"`
}

// notebook is append-only; ids count from 1.
type notebook struct {
	mu    sync.Mutex
	notes []note
}

const noteSchema = `{"type":"object","required":["id","title","text","tags"],"additionalProperties":false,"properties":{
	"id":{"type":"integer","minimum":1},"title":{"type":"string"},"text":{"type":"string"},
	"tags":{"type":"array","items":{"type":"string"}}}}`

const noteListSchema = `{"type":"object","required":["notes","total"],"additionalProperties":false,"properties":{
	"notes":{"type":"array","items":` + noteSchema + `},"total":{"type":"integer","minimum":0}}}`

func (b *notebook) tools() []tool {
	return []tool{
		describe("notes_add", "Add a note",
			"Write a note into the notebook and return it with its new id. Each call adds another note.",
			effect{}, `{"type":"object","required":["title","text"],"additionalProperties":false,"properties":{
			"title":{"type":"string","minLength":1,"maxLength":200,"description":"One line"},
			"text":{"type":"string","maxLength":4000,"description":"The note itself"},
			"tags":{"type":"array","maxItems":10,"items":{"type":"string","pattern":"^[a-z0-9-]{1,32}$"},"description":"Lower-case words to find it by"}}}`,
			noteSchema, b.add),
		describe("notes_list", "List notes",
			"List the newest notes first, optionally only those that carry a tag.",
			effect{readOnly: true, idempotent: true}, `{"type":"object","additionalProperties":false,"properties":{
			"tag":{"type":"string","pattern":"^[a-z0-9-]{1,32}$"},
			"limit":{"type":"integer","minimum":1,"maximum":100,"default":20}}}`,
			noteListSchema, b.list),
		describe("notes_search", "Search notes",
			"Find notes whose title or text contains the words, ignoring case. Newest first.",
			effect{readOnly: true, idempotent: true}, `{"type":"object","required":["query"],"additionalProperties":false,"properties":{
			"query":{"type":"string","minLength":1,"maxLength":100},
			"limit":{"type":"integer","minimum":1,"maximum":100,"default":20}}}`,
			noteListSchema, b.search),
	}
}

type noteDraft struct {
	Title string   `json:"title"`
	Text  string   `json:"text"`
	Tags  []string `json:"tags,omitempty"`
}

func (b *notebook) add(_ context.Context, in noteDraft) (note, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.notes) >= maxNotes {
		return note{}, fmt.Errorf("the notebook is full: it keeps %d notes", maxNotes)
	}
	n := note{ID: len(b.notes) + 1, Title: in.Title, Text: in.Text, Tags: in.Tags}
	if n.Tags == nil {
		n.Tags = []string{}
	}
	b.notes = append(b.notes, n)
	return n, nil
}

type noteQuery struct {
	Tag   string `json:"tag,omitempty"`
	Query string `json:"query,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

func (b *notebook) list(_ context.Context, in noteQuery) (noteList, error) {
	return b.collect(in.Limit, func(n *note) bool {
		if in.Tag == "" {
			return true
		}
		return slices.Contains(n.Tags, in.Tag)
	}), nil
}

func (b *notebook) search(_ context.Context, in noteQuery) (noteList, error) {
	words := strings.ToLower(in.Query)
	return b.collect(in.Limit, func(n *note) bool {
		return strings.Contains(strings.ToLower(n.Title), words) || strings.Contains(strings.ToLower(n.Text), words)
	}), nil
}

// collect returns the newest limit notes that match, and how many matched.
func (b *notebook) collect(limit int, match func(*note) bool) noteList {
	if limit == 0 {
		limit = 20
	}
	out := noteList{Notes: []note{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.notes) - 1; i >= 0; i-- {
		if !match(&b.notes[i]) {
			continue
		}
		out.Total++
		if len(out.Notes) < limit {
			out.Notes = append(out.Notes, b.notes[i])
		}
	}
	return out
}
