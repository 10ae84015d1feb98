package corpus

// dialects speak another protocol than the gateway's own, and abuse it.
func dialects() []Case {
	wasi := func(name, about string, params []byte) Case {
		g := sound()
		g.imports = []host{{module: "wasi_snapshot_preview1", name: name, params: params, results: []byte{i32}}}
		return of("wasi-"+name, about, Load, "", "", g)
	}
	return []Case{
		wasi("sock_accept", "takes connections", []byte{i32, i32, i32}),
		wasi("path_open", "opens files", []byte{i32, i32, i32, i32, i32, i64, i64, i32, i32}),
	}
}
