package control

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// cursorTag is the length of a cursor's authenticator in bytes: forging one gains nothing but a refusal, so 16 is ample.
const cursorTag = 16

// defaultPage is how many rows a list answers when it is not asked for a number.
const defaultPage = 50

// cursors makes and reads the opaque places in a list. A cursor is bound to tenant and operation, and to this process:
// after a restart a listing begins anew.
type cursors struct{ key []byte }

func (k cursors) tag(tenant, op, last string) []byte {
	mac := hmac.New(sha256.New, k.key)
	for _, part := range []string{tenant, op, last} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return mac.Sum(nil)[:cursorTag]
}

// make returns the cursor after the row with id last.
func (k cursors) make(tenant, op, last string) string {
	return base64.RawURLEncoding.EncodeToString(append(k.tag(tenant, op, last), last...))
}

// read returns the id a cursor stands for; the empty cursor is the beginning.
func (k cursors) read(tenant, op, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= cursorTag {
		return "", cursorInvalid()
	}
	last := string(raw[cursorTag:])
	if !hmac.Equal(raw[:cursorTag], k.tag(tenant, op, last)) {
		return "", cursorInvalid()
	}
	return last, nil
}

func cursorInvalid() *problem {
	return refuse(http.StatusBadRequest, "cursor_invalid", "the cursor was not given out for this list", "begin the list again without a cursor")
}

// listing is the query of every list.
type listing struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
}

// page is the body of every list.
type page[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"the rows, ordered by id"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

type paged[T any] struct{ Body page[T] }

// window answers one page of rows that fetch finds in the order of their ids: up to n with an id above after.
func window[R, T any](c *call, q listing, fetch func(after string, n int) []R, id func(*R) string, shape func(*R) T) (*paged[T], error) {
	tenant, op := c.caller.Tenant(), c.route.Op
	last, err := c.api.cursors.read(tenant, op, q.Cursor)
	if err != nil {
		return nil, err
	}
	limit := c.api.limit(q.Limit)
	rows := fetch(last, limit+1)
	out := &paged[T]{Body: page[T]{Items: []T{}}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.Body.Next = c.api.cursors.make(tenant, op, id(&rows[limit-1]))
	}
	for i := range rows {
		out.Body.Items = append(out.Body.Items, shape(&rows[i]))
	}
	return out, nil
}

// paginate answers one page of rows that are all at hand, in any order. Ids are unique and not empty.
func paginate[R, T any](c *call, q listing, all []R, id func(*R) string, shape func(*R) T) (*paged[T], error) {
	return window(c, q, func(after string, n int) []R {
		rows := slices.DeleteFunc(slices.Clone(all), func(r R) bool { return id(&r) <= after })
		slices.SortFunc(rows, func(a, b R) int { return strings.Compare(id(&a), id(&b)) })
		return rows[:min(n, len(rows))]
	}, id, shape)
}

// limit bounds what a caller asks for.
func (a *API) limit(asked int) int {
	if asked <= 0 {
		asked = defaultPage
	}
	return min(asked, a.cfg.PageLimit)
}
