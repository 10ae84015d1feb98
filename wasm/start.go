package wasm

import (
	"encoding/binary"
	"errors"

	"github.com/gatewright/gatewright/wasm/scan"
)

// exportStart is the name under which a start function is exported. Package meter refuses modules that export such a name.
const exportStart = scan.StatePrefix + "_start"

var errSections = errors.New("the metered module cannot be read")

// exposeStart makes of a metered module's start function an export, so that instantiating runs no code: a dialect whose modules
// may have one calls it while an instance is set up, under fuel like all else. Package meter has checked the module.
func exposeStart(module []byte) ([]byte, error) {
	const header, sectionExport, sectionStart = 8, 7, 8
	var exports, start [2]int // where they begin and end, id and size included
	var names, index []byte
	for at := header; at < len(module); {
		size, n := binary.Uvarint(module[at+1:])
		from := at + 1 + n
		if n <= 0 || size > uint64(len(module)-from) {
			return nil, errSections
		}
		end := from + int(size)
		switch module[at] {
		case sectionExport:
			exports, names = [2]int{at, end}, module[from:end]
		case sectionStart:
			start, index = [2]int{at, end}, module[from:end]
		}
		at = end
	}
	if index == nil {
		return module, nil
	}
	count, n := binary.Uvarint(names)
	if n <= 0 || start[0] < exports[1] {
		return nil, errSections
	}
	body := append(binary.AppendUvarint(nil, count+1), names[n:]...)
	body = append(binary.AppendUvarint(body, uint64(len(exportStart))), exportStart...)
	body = append(append(body, 0), index...) // a function
	out := append([]byte(nil), module[:exports[0]]...)
	out = append(binary.AppendUvarint(append(out, sectionExport), uint64(len(body))), body...)
	out = append(out, module[exports[1]:start[0]]...)
	return append(out, module[start[1]:]...), nil
}
