package opa

import (
	"errors"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Verdicts as filters of our own write them.
const (
	pass      = `{"verdict":"pass"}`
	notAllow  = `{"verdict":"deny","reason":"not_allowed"}`
	undefined = `{"verdict":"deny","reason":"undefined"}`
)

// Judge says what the result of an entrypoint means, as the text of a verdict, which has to be read as strictly as that of
// any filter; result is a set of bindings in JSON, and limits bound it. What is undefined denies. A verdict's own text is a
// part of result.
func Judge(kind Kind, result []byte, limits canon.Limits) ([]byte, error) {
	value, err := single(result, limits)
	if err != nil {
		return nil, err
	}
	switch {
	case value == nil:
		return []byte(undefined), nil
	case kind == Allow:
		return allow(value)
	case kind == Deny:
		return deny(value)
	case canon.KindOf(value) != '{':
		return nil, errors.New("the policy's verdict is no object")
	}
	return value, nil
}

// single returns the one value of a result set, nil when it is empty.
func single(result []byte, limits canon.Limits) ([]byte, error) {
	limits.Depth += 2
	if err := canon.Check(result, limits); err != nil {
		if syntax, ok := errors.AsType[*canon.SyntaxError](err); ok { // the text may quote the call
			return nil, errors.New("the policy's result is not strict JSON: " + string(syntax.Kind))
		}
		return nil, errors.New("the policy's result is not JSON")
	}
	var value []byte
	found := 0
	if canon.KindOf(result) == '[' {
		err := canon.EachElement(result, func(_ int, binding []byte) error {
			found++
			if canon.KindOf(binding) == '{' {
				value, _ = canon.Get(binding, "result")
			}
			return nil
		})
		if err == nil && (found == 0 || found == 1 && value != nil) {
			return value, nil
		}
	}
	return nil, errors.New("the policy's result is no set of at most one binding")
}

func allow(value []byte) ([]byte, error) {
	switch string(value) {
	case "true":
		return []byte(pass), nil
	case "false":
		return []byte(notAllow), nil
	}
	return nil, errors.New("the policy's allow is no boolean")
}

// deny makes a refusal of a set of messages, in order. A message is a string, or an object whose msg is one.
func deny(value []byte) ([]byte, error) {
	if canon.KindOf(value) != '[' {
		return nil, errors.New("the policy's deny is no set of messages")
	}
	var all []string
	err := canon.EachElement(value, func(_ int, element []byte) error {
		if canon.KindOf(element) == '{' {
			element, _ = canon.Get(element, "msg")
		}
		if element == nil || canon.KindOf(element) != '"' {
			return errors.New("a message of the policy's deny is neither a string nor an object with a msg")
		}
		text, err := canon.Unquote(element)
		all = append(all, text)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return []byte(pass), nil
	}
	slices.Sort(all)
	b := append([]byte(nil), `{"verdict":"deny","reason":"policy","message":`...)
	return append(canon.AppendString(b, abi.CleanMessage(strings.Join(all, "; "))), '}'), nil
}
