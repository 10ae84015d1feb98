package armoriq

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/device"
	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Devices is the desk where programs without a key sign in.
type Devices interface {
	Begin(source netip.Addr) (device.Code, error)
	Poll(deviceCode string) (device.Grant, error)
}

// Sources limits how often an address may ask without a credential.
type Sources interface {
	Allow(source netip.Addr, now time.Time) (wait time.Duration, ok bool)
}

// stranger refuses a request that has no credential by its nature; it is counted with those of other strangers.
func (r *request) stranger(d *pipeline.Denial) {
	if r.Line.Strangers != nil {
		r.Line.Strangers.Note(r.x.Remote, d.Code, r.Now())
	}
	r.refuse(d)
}

// admitted says whether a request without a credential may go on; it answers the ones that may not.
func (r *request) admitted() bool {
	wait, ok := r.Sources.Allow(r.x.Remote, r.Now())
	if !ok {
		d := pipeline.Deny(pipeline.RateLimited, "")
		d.RetryAfter = max(wait, time.Second)
		r.stranger(d)
	}
	return ok
}

// openDeviceCode answers POST /auth/device/code: a code for the program and one for a person. callback_url is read past:
// nothing is ever sent there.
func openDeviceCode(r *request) {
	if !r.admitted() {
		return
	}
	if err := r.readBody(); err != nil {
		r.stranger(errorsAs(err))
		return
	}
	c, err := r.Devices.Begin(r.x.Remote)
	if err != nil {
		d := pipeline.Deny(pipeline.RateLimited, "too many sign-ins are waiting").Because(err)
		d.RetryAfter = 30 * time.Second
		r.stranger(d)
		return
	}
	page := r.x.Target()
	page = page[:len(page)-len(r.x.Path)] + "/auth/device"
	r.reply(http.StatusOK, map[string]any{
		"device_code": c.Device, "user_code": c.User, "verification_uri": page, "verification_uri_complete": page + "?code=" + c.User,
		"interval": int(c.Interval / time.Second), "expires_in": int(c.ExpiresIn / time.Second),
		"message": "a person runs: gatewright agent approve " + c.User,
	})
}

// openDeviceToken answers POST /auth/device/token {deviceCode} in the words of RFC 8628 3.5. A grant is given once.
func openDeviceToken(r *request) {
	if !r.admitted() {
		return
	}
	var code string
	err := r.readBody()
	if err == nil {
		err = readObject(r.body, "", fields{"deviceCode": text(&code, 128), "device_code": text(&code, 128)})
	}
	if err != nil {
		r.stranger(errorsAs(err))
		return
	}
	g, err := r.Devices.Poll(code)
	words := map[error]string{
		device.ErrPending: "authorization_pending", device.ErrSlowDown: "slow_down", device.ErrExpired: "expired_token",
		device.ErrDenied: "access_denied", device.ErrUnknown: "invalid_grant",
	}
	for known, word := range words {
		if errors.Is(err, known) {
			if errors.Is(known, device.ErrUnknown) && r.Line.Strangers != nil {
				r.Line.Strangers.Note(r.x.Remote, pipeline.Unauthenticated, r.Now())
			}
			r.reply(http.StatusBadRequest, map[string]any{"error": word, "error_description": known.Error()})
			return
		}
	}
	if err != nil {
		r.stranger(pipeline.Deny(pipeline.Malformed, "the sign-in cannot be looked up").Because(err))
		return
	}
	r.reply(http.StatusOK, map[string]any{
		"api_key": g.Secret, "key_id": g.Key, "email": g.Email, "user_id": g.User, "org_id": g.Tenant, "agent_id": g.Agent,
	})
}

func errorsAs(err error) *pipeline.Denial {
	if d, ok := errors.AsType[*pipeline.Denial](err); ok {
		return d
	}
	return malformed("", "is not well formed").Because(err)
}

func (r *request) reply(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		r.stranger(pipeline.Deny(pipeline.Internal, "").Because(err))
		return
	}
	r.x.JSON(status, b)
}

// openDevicePage answers GET /auth/device?code=: what the person with the code does. The code is shown only when it is
// spelt as one.
func openDevicePage(r *request) {
	if !r.admitted() {
		return
	}
	typed, err := r.query("code")
	if err != nil {
		r.stranger(errorsAs(err))
		return
	}
	code := device.Spell(typed)
	if code == "" {
		code = "CODE"
	}
	r.x.JSON(http.StatusOK, fmt.Appendf(nil, devicePage, code, code))
	r.x.Response.Header.SetContentType("text/html; charset=utf-8")
	r.x.Response.Header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	r.x.Response.Header.Set("Referrer-Policy", "no-referrer")
}

const devicePage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Gatewright: sign a program in</title>
<h1>A program asks to sign in</h1>
<p>Its code is <b>%s</b>. Approve it only if you have just started this sign-in yourself and the program shows the same code.</p>
<pre>gatewright agent approve %s</pre>
<p>This asks for your management key. With <code>agent deny</code> you refuse it; if you do nothing, it expires.</p>
</html>
`
