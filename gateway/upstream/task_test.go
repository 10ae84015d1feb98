package upstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

const oneTask = `{"taskId":"a","status":"working","createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:30:00.5Z","ttl":60000,"pollInterval":500,"statusMessage":"x"}`

func TestATaskIsReadStrictly(t *testing.T) {
	task, err := upstream.ReadTask([]byte(oneTask), false)
	if err != nil || task.ID != "a" || task.TTL != time.Minute || task.Poll != time.Second/2 || string(task.Message) != `"x"` || task.Terminal() {
		t.Errorf("%+v, %v", task, err)
	}
	for name, change := range map[string][2]string{
		"no id": {`"taskId":"a",`, ``}, "an empty id": {`"taskId":"a"`, `"taskId":""`}, "an id that is a number": {`"taskId":"a"`, `"taskId":1`},
		"a long id": {`"a"`, `"` + strings.Repeat("a", 257) + `"`}, "an unknown status": {`"working"`, `"paused"`}, "no status": {`"status":"working",`, ``},
		"a time that is none": {`2025-11-25T10:30:00Z`, `<b>now</b>`}, "no time": {`"createdAt":"2025-11-25T10:30:00Z",`, ``},
		"a ttl that is text": {`60000`, `"60000"`}, "a message that is none": {`"x"`, `{"x":1}`},
	} {
		if got, err := upstream.ReadTask([]byte(strings.Replace(oneTask, change[0], change[1], 1)), false); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, ttl := range map[string]string{"no end": `null`, "a huge one": `1e300`, "a negative one": `-1`, "none": `0`} {
		if got, err := upstream.ReadTask([]byte(strings.Replace(oneTask, `60000`, ttl, 1)), false); err != nil || got.TTL < 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := upstream.ReadTask([]byte(oneTask), true); err != nil || got.TTL != 0 {
		t.Errorf("the other era's members: %+v, %v", got, err)
	}
	if _, err := upstream.ReadTask([]byte(`[]`), true); err == nil {
		t.Error("an array is a task")
	}
}
