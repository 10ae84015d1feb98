package gatewright_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// exampleGateway stands for a running gateway.
func exampleGateway() (url string, stop func()) {
	_, plan := sealed(&testing.T{}, twoSteps)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/plans", func(w http.ResponseWriter, _ *http.Request) { answer(w, 201, plan) })
	mux.HandleFunc("POST /api/v1/plans/pln_1/tokens", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 201, `{"token":"`+token+`","id":"tok_1"}`)
	})
	mux.HandleFunc("POST /mcp/files", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}]}}`)
	})
	mux.HandleFunc("POST /mcp/mail", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"no step fits","data":{"reason":"step_unknown","hint":"plan it first","record":"rec_1"}}}`)
	})
	srv := httptest.NewServer(mux)
	return srv.URL, srv.Close
}

func Example() {
	url, stop := exampleGateway()
	defer stop()
	ctx := context.Background()
	c, err := gatewright.New(gatewright.Config{URL: url, Key: agentKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := c.Plan(ctx, []byte(twoSteps))
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := c.Token(ctx, plan.ID, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := c.Call(ctx, gatewright.Call{Server: "files", Tool: "read", Args: json.RawMessage(`{"path":"/a"}`), Token: token.Token})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Size, "steps;", result.Text())
	// Output: 2 steps; hello
}

func ExampleError() {
	url, stop := exampleGateway()
	defer stop()
	c, err := gatewright.New(gatewright.Config{URL: url, Key: agentKey})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Call(context.Background(), gatewright.Call{Server: "mail", Tool: "send", Token: token})
	if refused, ok := errors.AsType[*gatewright.Error](err); ok {
		fmt.Println(refused.Code, "|", refused.Hint, "|", refused.Record)
	}
	// Output: step_unknown | plan it first | rec_1
}

func ExampleVerifyReceipt() {
	receipt, keys := signed(&testing.T{}, `{"path":"/a"}`) // keys: gatewright.ParseKeys of a pinned file
	v, err := gatewright.VerifyReceipt(receipt, keys)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Record.Kind, v.Record.Server, v.Record.Tool, v.Record.Outcome)
	fmt.Println(v.CoversArguments(salt, []byte(`{"path":"/a"}`)), v.CoversArguments(salt, []byte(`{"path":"/b"}`)))
	// Output:
	// settled files read ok
	// true false
}
