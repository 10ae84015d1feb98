package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Bounds of a body's inside: no body of this API nests deeper than three or holds more than a few hundred values.
const (
	maxDepth  = 8
	maxValues = 4096

	// maxBundleBody is what a bundle may be in all, in bytes, and maxBundleValues twice as many as it may have files.
	maxBundleBody   = 32 << 20
	maxBundleValues = 16 << 10
)

// readBody takes the whole body of a request, if its route has one, and lets only strict JSON through.
func (a *API) readBody(r *http.Request, route *Route) ([]byte, *problem) {
	if len(r.TransferEncoding) > 0 || r.ContentLength < 0 {
		return nil, refuse(http.StatusLengthRequired, "length_required", "a body needs a Content-Length", "send the body without Transfer-Encoding")
	}
	if !route.Body {
		if r.ContentLength > 0 {
			return nil, refuse(http.StatusBadRequest, "body_refused", "this route takes no body", "")
		}
		return nil, nil
	}
	if route.Bare && r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength == 0 {
		return nil, refuse(http.StatusBadRequest, "body_invalid", "this route needs a JSON body", route.wants())
	}
	if p := checkMedia(r.Header); p != nil {
		return nil, p
	}
	limits := a.bodyLimits(route)
	if r.ContentLength > int64(limits.Bytes) {
		return nil, refuse(http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("the body exceeds %d bytes", limits.Bytes), route.smaller())
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, refuse(http.StatusBadRequest, "body_invalid", "the body ended early", "")
	}
	if err := canon.Check(body, limits); err != nil {
		return nil, refuse(http.StatusBadRequest, "body_invalid", clip(err.Error(), 200), "send strict JSON: no duplicate names, valid UTF-8, numbers a double can hold")
	}
	if canon.KindOf(bytes.TrimLeft(body, " \t\r\n")) != '{' {
		return nil, refuse(http.StatusBadRequest, "body_invalid", "the body must be a JSON object", "")
	}
	return body, nil
}

func (a *API) bodyLimits(route *Route) canon.Limits {
	if route.Bundle {
		return canon.Limits{Bytes: max(a.cfg.MaxBody, maxBundleBody), Depth: maxDepth, Values: maxBundleValues}
	}
	return canon.Limits{Bytes: a.cfg.MaxBody, Depth: maxDepth, Values: maxValues}
}

// smaller says what to do about a body that is too large.
func (r *Route) smaller() string {
	if r.Bundle {
		return "let the gateway follow a folder or a git repository (policies.bundle, policies.git), or push a smaller bundle"
	}
	return "send less; max_body in control bounds it, and only the operator raises it"
}

// checkMedia accepts exactly one Content-Type, application/json in UTF-8, and no Content-Encoding.
func checkMedia(h http.Header) *problem {
	bad := func(why string) *problem {
		return refuse(http.StatusUnsupportedMediaType, "content_type_refused", why, "send application/json")
	}
	if enc := h.Values("Content-Encoding"); len(enc) > 0 {
		return bad("encoded bodies are not read")
	}
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return bad("a body needs one Content-Type")
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/json" {
		return bad("the body must be application/json")
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return bad("the body must be application/json in UTF-8")
		}
	}
	return nil
}

// format is how huma reads and writes JSON here. Bodies were checked by canon before huma saw them; what is left is that
// encoding/json takes "Name" and "NAME" for "name", which lets two readers disagree, so names must match to the letter.
var format = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // a ledger record stands in an answer byte for byte; nosniff keeps pages out
		return enc.Encode(v)
	},
	Unmarshal: func(data []byte, v any) error {
		if err := exactNames(data, reflect.TypeOf(v)); err != nil {
			return err
		}
		return json.Unmarshal(data, v)
	},
}

// exactNames refuses object members whose names are not spelled as the struct's tags, at every level.
func exactNames(data []byte, t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	data = bytes.TrimSpace(data)
	if t == nil || len(data) == 0 {
		return nil
	}
	switch {
	case t.Kind() == reflect.Struct && canon.KindOf(data) == '{':
		fields := jsonFields(t)
		return canon.Each(data, func(key, value []byte) error {
			field, ok := fields[string(key)]
			if !ok {
				return fmt.Errorf("unknown member %q", clip(string(key), 64))
			}
			return exactNames(value, field)
		})
	case t.Kind() == reflect.Slice && canon.KindOf(data) == '[':
		return canon.EachElement(data, func(_ int, value []byte) error { return exactNames(value, t.Elem()) })
	}
	return nil
}

func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		if f.Anonymous {
			maps.Copy(fields, jsonFields(f.Type))
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}
