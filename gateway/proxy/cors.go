package proxy

import "net/http"

// share lets a script of the origin in proxy.origins read the answer (Fetch, CORS protocol), and says whether the request was a
// browser's preflight and is answered. There are no cookies here and no credentials of a browser's own: what a script may do, it
// may by the key or token that it shows, so headers need no list.
func (x *Exchange) share() (preflight bool) {
	h := &x.Response.Header
	h.SetBytesV("Access-Control-Allow-Origin", x.Head.Origin)
	h.Set("Vary", "Origin")
	if !x.IsOptions() || len(x.Request.Header.Peek("Access-Control-Request-Method")) == 0 {
		h.Set("Access-Control-Expose-Headers", "*")
		return false
	}
	h.Set("Access-Control-Allow-Methods", "DELETE, GET, PATCH, POST, PUT")
	h.Set("Access-Control-Allow-Headers", "Authorization, *") // the star does not stand for Authorization
	h.Set("Access-Control-Max-Age", "600")
	x.SetStatusCode(http.StatusNoContent)
	return true
}
