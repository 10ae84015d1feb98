module github.com/gatewright/gatewright/wasm/guest/go

go 1.26
