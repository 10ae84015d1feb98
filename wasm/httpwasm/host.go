package httpwasm

import (
	"net/url"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/gatewright/gatewright/wasm/abi"
)

// Module is what guests import from.
const Module = "http_handler"

// Function is one that guests may import. Run makes the guest's call: stack holds its arguments and takes its result, as
// in api.GoModuleFunction. It returns what the call costs in units of fuel; on an error the guest must be ended.
type Function struct {
	Name            string
	Params, Results []api.ValueType
	Setup           bool // it may be called while the guest is set up, before there is an exchange
	Run             func(x *Exchange, m api.Memory, stack []uint64) (units int64, err error)
}

// Functions are all of the ABI.
func Functions() []Function {
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	none, one, two, three := []api.ValueType(nil), []api.ValueType{i32}, []api.ValueType{i32, i32}, []api.ValueType{i32, i32, i32}
	five, long := []api.ValueType{i32, i32, i32, i32, i32}, []api.ValueType{i64}
	return []Function{
		{"enable_features", one, one, true, enableFeatures},
		{"get_config", two, one, true, text(func(x *Exchange) string { return string(x.Config) })},
		{"log_enabled", one, one, true, logEnabled},
		{"log", three, none, true, logLine},
		{"get_method", two, one, false, text(func(x *Exchange) string { return x.Method })},
		{"set_method", two, none, false, setMethod},
		{"get_uri", two, one, false, text(func(x *Exchange) string { return x.URI })},
		{"set_uri", two, none, false, setURI},
		{"get_protocol_version", two, one, false, text(func(x *Exchange) string { return x.Protocol })},
		{"get_source_addr", two, one, false, text(func(x *Exchange) string { return x.Source })},
		{"get_header_names", three, long, false, headerNames},
		{"get_header_values", five, long, false, headerValues},
		{"set_header_value", five, none, false, setHeader(false)},
		{"add_header_value", five, none, false, setHeader(true)},
		{"remove_header", three, none, false, removeHeader},
		{"read_body", three, long, false, readBody},
		{"write_body", three, none, false, writeBody},
		{"get_status_code", none, one, false, statusCode},
		{"set_status_code", one, none, false, setStatusCode},
	}
}

// Prices in units of fuel, of which one must never take more than 15 ns.
const (
	callPrice   = 200 // of every call
	bytesPerFee = 4   // bytes copied or compared for a unit
	fieldPrice  = 16  // of looking at a header's field
)

func price(bytes int) int64 { return callPrice + int64(bytes)/bytesPerFee }

// read gives a region of the guest's memory, which stays the guest's.
func read(m api.Memory, at, size uint64) ([]byte, error) {
	if uint32(size) == 0 {
		return nil, nil
	}
	b, ok := m.Read(uint32(at), uint32(size))
	if !ok {
		return nil, abi.ErrPointer
	}
	return b, nil
}

// give writes b to memory unless it is longer than limit.
func give(m api.Memory, at, limit uint64, b string) error {
	if len(b) == 0 || uint64(len(b)) > uint64(uint32(limit)) {
		return nil
	}
	if !m.WriteString(uint32(at), b) {
		return abi.ErrPointer
	}
	return nil
}

// text makes a function that gives one string of the exchange.
func text(of func(*Exchange) string) func(*Exchange, api.Memory, []uint64) (int64, error) {
	return func(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
		s := of(x)
		if err := give(m, stack[0], stack[1], s); err != nil {
			return callPrice, err
		}
		stack[0] = uint64(len(s))
		return price(len(s)), nil
	}
}

func enableFeatures(x *Exchange, _ api.Memory, stack []uint64) (int64, error) {
	if !x.after {
		x.features |= uint32(stack[0]) & supported
	}
	stack[0] = supported
	return callPrice, nil
}

// Levels of the ABI's log; ours begin with 0 for debug.
const (
	levelDebug = -1
	levelError = 2
)

// logEnabled says the same whatever the gateway's log is set to, since a guest may decide by it: all but debug is worth while.
func logEnabled(_ *Exchange, _ api.Memory, stack []uint64) (int64, error) {
	level := int32(stack[0])
	stack[0] = 0
	if level > levelDebug && level <= levelError {
		stack[0] = 1
	}
	return callPrice, nil
}

func logLine(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	line, err := read(m, stack[1], stack[2])
	level := int32(stack[0])
	if err != nil || x.Log == nil || level < levelDebug || level > levelError {
		return callPrice, err
	}
	x.Log(level-levelDebug, line)
	return callPrice, nil
}

func setMethod(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	method, err := read(m, stack[0], stack[1])
	if err != nil {
		return callPrice, err
	}
	cost := price(len(method))
	switch err := x.before("the method"); {
	case err != nil:
		return cost, err
	case len(method) > maxMethod || !isToken(method):
		return cost, refuse("a method is a token of at most %d bytes", maxMethod)
	case x.Fixed && string(method) != x.Method:
		return cost, refuse("the method stands for the call and cannot change")
	}
	x.Method = string(method)
	return cost, nil
}

func setURI(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	b, err := read(m, stack[0], stack[1])
	if err != nil {
		return callPrice, err
	}
	cost := price(len(b))
	if len(b) > maxURI {
		return cost, refuse("a URI has at most %d bytes", maxURI)
	}
	uri := string(b)
	if uri == "" {
		uri = "/"
	}
	switch err := x.before("the URI"); {
	case err != nil:
		return cost, err
	case x.Fixed && uri != x.URI:
		return cost, refuse("the URI names server and tool of the call and cannot change")
	}
	if _, err := url.ParseRequestURI(uri); err != nil || !isValue(uri) {
		return cost, refuse("not the URI of a request") // the error quotes it
	}
	x.URI = uri
	return cost, nil
}

// list writes strings to memory, each with a NUL behind it, and returns their number and bytes in one. None holds a NUL:
// whoever fills an exchange and whoever adds fields sees to that.
func list(m api.Memory, at, limit uint64, all []string) (countLen uint64, bytes int, err error) {
	for _, s := range all {
		bytes += len(s) + 1
	}
	if bytes > 0 && uint64(bytes) <= uint64(uint32(limit)) {
		err = give(m, at, limit, strings.Join(all, "\x00")+"\x00")
	}
	return uint64(len(all))<<32 | uint64(uint32(bytes)), bytes, err
}

func headerNames(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	h, err := x.header(uint32(stack[0]))
	if err != nil {
		return callPrice, err
	}
	cost := price(h.size()) + fieldPrice*int64(len(*h))
	stack[0], _, err = list(m, stack[1], stack[2], h.names())
	return cost, err
}

// name reads the name of a header field, in lower case. Whatever else a guest hands in is refused while it is cheap: before it
// is copied or folded, which for text that is not ASCII takes longer than its bytes pay.
func name(m api.Memory, at, size uint64) (string, error) {
	if uint32(size) == 0 || uint32(size) > maxName {
		return "", refuse("a header name is 1 to %d bytes long", maxName)
	}
	b, err := read(m, at, size)
	switch {
	case err != nil:
		return "", err
	case !isToken(b):
		return "", refuse("a header name is not a token of HTTP")
	}
	return strings.ToLower(string(b)), nil
}

func headerValues(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	h, err := x.header(uint32(stack[0]))
	if err != nil {
		return callPrice, err
	}
	key, err := name(m, stack[1], stack[2])
	if err != nil {
		return callPrice, err
	}
	countLen, bytes, err := list(m, stack[3], stack[4], h.Values(key))
	stack[0] = countLen
	return price(bytes+len(key)) + fieldPrice*int64(len(*h)), err
}

func setHeader(more bool) func(*Exchange, api.Memory, []uint64) (int64, error) {
	return func(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
		h, err := x.writable(uint32(stack[0]))
		if err != nil {
			return callPrice, err
		}
		key, err := name(m, stack[1], stack[2])
		if err != nil {
			return callPrice, err
		}
		value, err := read(m, stack[3], stack[4])
		if err != nil {
			return callPrice, err
		}
		cost := price(len(key)+len(value)) + fieldPrice*int64(len(*h))
		if len(value) > maxHeader {
			return callPrice, refuse("a header has at most %d bytes", maxHeader)
		}
		return cost, x.put(h, key, string(value), more)
	}
}

func removeHeader(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	h, err := x.writable(uint32(stack[0]))
	if err != nil {
		return callPrice, err
	}
	key, err := name(m, stack[1], stack[2])
	if err != nil {
		return callPrice, err
	}
	cost := price(len(key)) + fieldPrice*int64(len(*h))
	*h = h.remove(key)
	return cost, nil
}

func readBody(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	msg, err := x.readable(uint32(stack[0]))
	if err != nil {
		return callPrice, err
	}
	if uint32(stack[2]) == 0 {
		return callPrice, refuse("read_body with room for no byte")
	}
	room, err := read(m, stack[1], stack[2])
	if err != nil {
		return callPrice, err
	}
	body := msg.Final()
	n := copy(room, body[min(msg.read, len(body)):])
	msg.read += n
	stack[0] = uint64(n)
	if msg.read >= len(body) {
		stack[0] |= 1 << 32
	}
	return price(n), nil
}

func writeBody(x *Exchange, m api.Memory, stack []uint64) (int64, error) {
	kind := uint32(stack[0])
	msg, err := x.body(kind)
	switch {
	case err != nil:
	case kind == kindRequest:
		err = x.before("the request body")
	default:
		err = x.answering("response body")
	}
	if err != nil {
		return callPrice, err
	}
	b, err := read(m, stack[1], stack[2])
	if err != nil {
		return callPrice, err
	}
	if len(b) > x.MaxBody-len(msg.New) {
		return callPrice, refuse("a body has at most %d bytes", x.MaxBody)
	}
	if !msg.Changed {
		msg.Changed, msg.read = true, 0
	}
	msg.New = append(msg.New, b...)
	return price(len(b)), nil
}

func statusCode(x *Exchange, _ api.Memory, stack []uint64) (int64, error) {
	if !x.after && x.Status == 0 {
		return callPrice, refuse("there is no status before handle_response")
	}
	stack[0] = uint64(x.Code())
	return callPrice, nil
}

func setStatusCode(x *Exchange, _ api.Memory, stack []uint64) (int64, error) {
	if err := x.answering("status"); err != nil {
		return callPrice, err
	}
	code := uint32(stack[0])
	if code < 100 || code > 999 {
		return callPrice, refuse("a status has three digits")
	}
	x.Status = code
	return callPrice, nil
}
