package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

// codeUnsupportedVersion is how a modern server refuses the version asked for.
const codeUnsupportedVersion = "-32022"

var errNoCommonVersion = errors.New("the server speaks no protocol version known here")

// agree finds out the server's era, unless it is configured, and greets it. A
// server of unknown era is asked the modern way first. One that refuses that, or
// leaves it unanswered, is initialized the older way; one that refuses this too
// may have been slow to start, and is asked once more.
func (s *session) agree(ctx context.Context, era string) error {
	switch era {
	case Legacy:
		return s.initialize(ctx)
	case Modern:
		_, err := s.discover(ctx)
		return err
	}
	probe, cancel := context.WithTimeout(ctx, s.config.ProbeTimeout)
	defer cancel()
	answered, err := s.discover(probe)
	if err == nil || s.over() != nil || ctx.Err() != nil || errors.Is(err, errNoCommonVersion) {
		return err
	}
	err = s.initialize(ctx)
	if err != nil && !answered && s.over() == nil && ctx.Err() == nil && !errors.Is(err, errNoCommonVersion) {
		_, err = s.discover(ctx)
	}
	return err
}

// discover asks as a modern client. answered tells that the server said
// something to it.
func (s *session) discover(ctx context.Context) (answered bool, err error) {
	s.modern.Store(true)
	reply, fail := s.exchange(ctx, &connector.Request{Method: "server/discover"})
	if fail == nil && offers(reply.Result, "supportedVersions", modernVersion) {
		s.declares = declared(reply.Result)
		return true, nil
	}
	s.modern.Store(false)
	switch {
	case fail != nil:
		return false, fmt.Errorf("discover the server: %w", fail)
	case reply.Result != nil:
		return true, canFallBack(reply.Result, "supportedVersions")
	}
	if code, _ := canon.Get(reply.Error, "code"); string(code) == codeUnsupportedVersion {
		data, _ := canon.Get(reply.Error, "data")
		return true, canFallBack(data, "supported")
	}
	return true, errors.New("discover the server: it refused")
}

// canFallBack returns the error for a server that answered as a modern one but
// does not speak our version: it may still offer an older one.
func canFallBack(object []byte, member string) error {
	for _, v := range legacyVersions {
		if offers(object, member, v) {
			return fmt.Errorf("the server speaks the older %s", v)
		}
	}
	return errNoCommonVersion
}

// initialize does the handshake of the older era.
func (s *session) initialize(ctx context.Context) error {
	reply, fail := s.exchange(ctx, &connector.Request{Method: "initialize", Params: []byte(initializeParams)})
	if fail != nil {
		return fmt.Errorf("initialize the server: %w", fail)
	}
	if reply.Result == nil {
		return errors.New("initialize the server: it refused")
	}
	raw, _ := canon.Get(reply.Result, "protocolVersion")
	version, err := canon.Unquote(raw)
	if err != nil || !slices.Contains(legacyVersions, version) {
		return errNoCommonVersion
	}
	s.declares = declared(reply.Result)
	select {
	case s.out <- &outgoing{text: []byte(initialized)}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("initialize the server: %w", ctx.Err())
	}
}

// declared is what a server says of itself in the answer to a greeting.
func declared(result []byte) []byte {
	capabilities, ok := canon.Get(result, "capabilities")
	if !ok || canon.KindOf(capabilities) != '{' {
		return nil
	}
	return bytes.Clone(capabilities)
}

// offers reports whether the array member of an object holds the string.
func offers(object []byte, member, want string) bool {
	array, ok := canon.Get(object, member)
	if !ok || canon.KindOf(array) != '[' {
		return false
	}
	found := false
	_ = canon.EachElement(array, func(_ int, value []byte) error { // checked JSON: cannot fail
		text, err := canon.Unquote(value)
		found = found || err == nil && text == want
		return nil
	})
	return found
}
