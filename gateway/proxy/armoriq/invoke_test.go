package armoriq

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// TestACredentialForAServerIsReadStrictly: what is taken can stand in a header, and in one that says nothing else about
// the request; refusals hold nothing of it.
func TestACredentialForAServerIsReadStrictly(t *testing.T) {
	b64 := func(text string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(text))) }
	for text, want := range map[string]pipeline.Credential{
		`{"authType":"bearer","token":"s3"}`:                                  {Header: "Authorization", Value: "Bearer s3"},
		`{"authType":"api_key","apiKey":"s3"}`:                                {Header: "X-API-Key", Value: "s3"},
		`{"authType":"api_key","apiKey":"s3","headerName":"X-Their-Key"}`:     {Header: "X-Their-Key", Value: "s3"},
		`{"authType":"api_key","apiKey":"s3","headerName":"api-key"}`:         {Header: "api-key", Value: "s3"},
		`{"authType":"basic","username":"u","password":"p:q"}`:                {Header: "Authorization", Value: "Basic " + string(b64("u:p:q"))},
		`{"authType":"basic","username":"u"}`:                                 {Header: "Authorization", Value: "Basic " + string(b64("u:"))},
		`{"authType":"none"}`:                                                 {},
		`{"authType":"bearer","token":"s3","apiKey":null,"more":{"a":["x"]}}`: {Header: "Authorization", Value: "Bearer s3"},
	} {
		if got, err := credentialOf(b64(text), canon.DefaultLimits()); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, raw := range [][]byte{
		nil, []byte("%%%"), []byte(`{"authType":"none"}`), b64(""), b64("[]"), b64("null"), b64(`{"authType":"none","authType":"bearer"}`), b64(`{}`), b64(`{"authtype":"none"}`),
		b64(`{"authType":"Bearer","token":"s3"}`), b64(`{"authType":"bearer"}`), b64(`{"authType":"bearer","token":5}`), b64(`{"authType":"api_key"}`), b64(`{"authType":"basic","password":"s3"}`),
		b64(`{"authType":"basic","username":"a:b","password":"s3"}`), b64(`{"authType":"bearer","token":"s3\r\nX-Evil: 1"}`), b64(`{"authType":"bearer","token":"s3\u0000"}`), b64(`{"authType":"bearer","token":"s3é"}`),
		b64(`{"authType":"api_key","apiKey":"s3","headerName":"Host"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"Content-Length"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"Cookie"}`),
		b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-Forwarded-For"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-Real-IP"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-"}`),
		b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-A: b"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-A\nB"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"Mcp-Session-Id"}`),
		b64(`{"authType":"api_key","apiKey":"s3","headerName":"Transfer-Encoding"}`), b64(`{"authType":"oauth","token":"s3"}`), append(b64(`{"authType":"none"}`), '\n', 'x'),
		b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-HTTP-Method-Override"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"x-original-url"}`),
		b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-Forwarded"}`), b64(`{"authType":"api_key","apiKey":"s3","headerName":"X-User-Email"}`),
	} {
		got, err := credentialOf(raw, canon.DefaultLimits())
		if err == nil || got != (pipeline.Credential{}) || strings.Contains(err.Error(), "s3") {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
}
