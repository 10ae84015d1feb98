package control

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
)

// maxAnswer bounds an answer held back until its record is durable. A page of 200 records of 16 KiB fits.
const maxAnswer = 8 << 20

var errAnswerTooBig = errors.New("answer exceeds its bound")

// answer holds a response until the ledger has taken the record of the call.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter; as there, the first status counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.body.Len()+len(b) > maxAnswer {
		return 0, errAnswerTooBig
	}
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// replace drops what was written and answers with p.
func (a *answer) replace(p *problem) {
	a.header, a.status = http.Header{}, 0
	a.body.Reset()
	p.write(a)
}

// send lets the answer go.
func (a *answer) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	if a.status == 0 {
		a.status = http.StatusInternalServerError
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // the client may be gone; the record stands either way
}

// copy is a second answer with the same content, for a replay.
func (a *answer) copy() *answer {
	c := &answer{header: a.header.Clone(), status: a.status}
	c.body.Write(a.body.Bytes())
	return c
}
