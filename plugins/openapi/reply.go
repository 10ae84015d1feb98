package openapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// maxErrorBody bounds what of an error's body an agent reads, in bytes.
const maxErrorBody = 16 << 10

func tooLarge(detail string) error {
	return &connector.Failure{Kind: connector.TooLarge, Detail: detail}
}
func malformed(detail string) error {
	return &connector.Failure{Kind: connector.Malformed, Detail: detail}
}

// reply makes an MCP result of an answer. Its headers stay here: they may hold cookies and addresses.
func (a *api) reply(res *http.Response, credential string) (connector.Reply, error) {
	if coding := res.Header.Values("Content-Encoding"); len(coding) > 0 && !strings.EqualFold(strings.Join(coding, ","), "identity") {
		return connector.Reply{}, malformed("the answer is compressed, which was not asked for")
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return connector.Failed(fmt.Sprintf("HTTP %d: the API answers with a redirect, and none is followed", res.StatusCode)), nil
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, int64(a.limits.Answer)+1))
	if err != nil {
		return connector.Reply{}, err
	}
	if len(raw) > a.limits.Answer {
		return connector.Reply{}, tooLarge("the answer is larger than max_answer")
	}
	if a.op.scheme.betrays(credential, string(raw)) {
		return connector.Reply{}, malformed("the answer repeats the credential, and is withheld")
	}
	kind, readable := contentKind(res.Header.Get("Content-Type"), raw)
	if res.StatusCode >= 400 {
		return failed(res.StatusCode, raw, readable), nil
	}
	reply, err := a.succeeded(res.StatusCode, kind, raw, readable)
	if err == nil && len(reply.Result) > a.limits.Result {
		err = tooLarge("the result is larger than max_reply of upstream lets in")
	}
	return reply, err
}

// contentKind says of what media type a body is, and whether it is text.
func contentKind(header string, raw []byte) (kind string, readable bool) {
	kind, params, err := mime.ParseMediaType(header)
	if err != nil {
		kind = "application/octet-stream"
	}
	charset := strings.ToLower(params["charset"])
	known := charset == "" || charset == "utf-8" || charset == "us-ascii"
	texts := strings.HasPrefix(kind, "text/") || mediaKind(kind) == mediaJSON || strings.HasSuffix(kind, "+xml") || strings.HasSuffix(kind, "+yaml")
	switch kind {
	case "application/xml", "application/yaml", "application/x-ndjson", "application/javascript", "application/x-www-form-urlencoded", "application/jsonl":
		texts = true
	}
	return kind, len(raw) == 0 || texts && known && utf8.Valid(raw)
}

// failed is what the API itself says went wrong.
func failed(status int, raw []byte, readable bool) connector.Reply {
	text := "HTTP " + strconv.Itoa(status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	switch {
	case !readable:
		text += fmt.Sprintf("\n(a body of %d bytes that are no text is left out)", len(raw))
	case len(raw) > 0:
		text += "\n" + clip(string(raw), maxErrorBody)
	}
	return connector.Failed(text)
}

// succeeded is what the API answers.
func (a *api) succeeded(status int, kind string, raw []byte, readable bool) (connector.Reply, error) {
	switch {
	case len(raw) == 0:
		return connector.Text("HTTP " + strconv.Itoa(status) + " " + http.StatusText(status)), nil
	case readable && mediaKind(kind) == mediaJSON:
		limits := canon.Limits{Bytes: a.limits.Answer, Depth: a.limits.JSONDepth - resultDepth, Values: a.limits.JSONValues - resultValues}
		if canon.Check(raw, limits) == nil {
			return connector.JSON(json.RawMessage(raw))
		}
		return connector.Text(string(raw)), nil // readers do not agree on it as JSON; as a text they do
	case readable:
		return connector.Text(string(raw)), nil
	case a.limits.Binary == 0:
		return connector.Reply{}, malformed("the answer is neither JSON nor text, and max_binary lets none through")
	case len(raw) > a.limits.Binary:
		return connector.Reply{}, tooLarge("the answer is neither JSON nor text, and larger than max_binary")
	}
	if len(kind) > maxWireName {
		return connector.Reply{}, errors.New("the answer's media type is too long")
	}
	b := append([]byte(nil), `{"content":[{"type":"resource","resource":{"uri":`...)
	b = canon.AppendString(b, "openapi:"+a.op.name)
	b = canon.AppendString(append(b, `,"mimeType":`...), kind)
	b = canon.AppendString(append(b, `,"blob":`...), base64.StdEncoding.EncodeToString(raw))
	return connector.Reply{Result: append(b, `}}]}`...)}, nil
}

// What a result adds to the JSON that it holds.
const (
	resultDepth  = 3
	resultValues = 16
)

// quoted is a text as JSON writes it within quotes.
func quoted(s string) string {
	b := canon.AppendString(nil, s)
	return string(b[1 : len(b)-1])
}
