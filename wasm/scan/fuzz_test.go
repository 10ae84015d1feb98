package scan_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/iotest"

	"github.com/gatewright/gatewright/wasm/scan"
)

// FuzzScan: whatever the bytes, a scan ends with an *Error within the module or with a report that fits it; it says the
// same from memory and in pieces of any size; and it holds no more memory than the bytes and the limits explain.
func FuzzScan(f *testing.F) {
	for _, m := range []mod{rich(), filter(), handler(), policy()} {
		f.Add(m.bytes())
	}
	for _, l := range limits() {
		if len(l.ok) < 500 { // larger ones keep the fuzzer busy making them small
			f.Add(l.ok)
		}
	}
	f.Add(body(0xfd, 12))
	f.Add(cat(magic, 2, 5, leb(0xffffffff)))
	f.Fuzz(func(t *testing.T, module []byte) {
		if len(module) > 1<<13 {
			return
		}
		for _, l := range []scan.Limits{{MaxModule: 1 << 12}, form(scan.Limits{AllowTables: true, AllowStart: true}), scan.Large()} {
			fuzzScan(t, module, l)
		}
	})
}

func fuzzScan(t *testing.T, module []byte, l scan.Limits) {
	var r scan.Report
	var err error
	spent := allocated(func() { r, err = scan.Scan(bytes.NewReader(module), l) })
	if most := uint64(1<<20 + 200*len(module)); spent > most {
		t.Fatalf("%d bytes allocated for %d", spent, len(module))
	}
	_, walked := scan.Walk(module, l, nil)
	_, halves := scan.Scan(iotest.HalfReader(iotest.OneByteReader(bytes.NewReader(module))), l)
	if said(err) != said(walked) || said(err) != said(halves) {
		t.Fatalf("%v, from memory %v, in pieces %v", err, walked, halves)
	}
	if err == nil {
		fits(t, module, r, l.Filled())
		return
	}
	var e *scan.Error
	if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(module) || e.Detail == "" || e.Hint == "" {
		t.Fatalf("%+v", err)
	}
	if !errors.Is(err, scan.ErrMalformed) && !errors.Is(err, scan.ErrUnsupported) && !errors.Is(err, scan.ErrLimit) {
		t.Fatal(err)
	}
}

// fits holds a report against the module and the limits it was made with.
func fits(t *testing.T, module []byte, r scan.Report, l scan.Limits) {
	if r.Size != len(module) || r.Size > l.MaxModule || r.Functions > l.MaxFunctions || r.Body > l.MaxBody || r.Locals > l.MaxLocals ||
		r.Nesting > l.MaxNesting || r.Targets > l.MaxTargets || r.Work > l.MaxWork || r.Data > l.MaxData || r.Tables > l.MaxTables ||
		r.MaxPages > l.MaxPages || r.MinPages > r.MaxPages || r.Entries > l.MaxTableEntries || len(r.Mutable) > r.Globals {
		t.Fatalf("%+v", r)
	}
	if !l.AnyDialect && r.Dialect == "" || r.Class != scan.SmallClass && r.Class != scan.LargeClass || (r.Class == scan.LargeClass) != (r.Large != "") {
		t.Fatalf("%+v", r)
	}
}
