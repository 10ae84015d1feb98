package stages_test

import (
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/quota"
	"github.com/gatewright/gatewright/gateway/stages"
)

func TestWhatFiltersFindInATaskBelongsToTheSessionOfItsCall(t *testing.T) {
	c := newWorld(t).counting(planned + `@id("s") forbid (principal, action in Action::"work", resource) when { context.session.labels.contains("pii") };`)
	began := c.passes(a)
	k, err := quota.New(quota.DefaultConfig(), c.kept)
	c.must(err)
	of := quota.Session{Tenant: "acme", Agent: began.Caller.Principal().ID, Plan: began.Planned().ID, Ends: time.Unix(began.Grant.PlanExpires(), 0)}
	look := func(labels ...string) {
		t.Helper()
		f := &pipeline.Call{Caller: began.Caller, Op: "tasks/get", Action: "get_task", Server: began.Server, Name: began.Name, Started: began.Started}
		f.Task = &pipeline.Task{ID: "sealed", From: pipeline.Origin{PlanID: of.Plan, PlanEnds: began.Grant.PlanExpires()}}
		s := stages.Session{Policies: &c.engines, Counters: k}
		c.must(s.Check(t.Context(), f))
		f.Labels = labels
		c.must(s.CheckReply(t.Context(), f))
		for _, p := range f.Counted {
			p.End(true)
		}
	}
	for range 3 {
		look()
	}
	if seen, err := k.Look(t.Context(), of, began.Server+"/"+began.Name, began.Started); err != nil || seen.Calls != 1 {
		t.Errorf("looks at a task count as work: %+v, %v", seen, err)
	}
	look("pii")
	c.restart()
	c.refused(c.run(a, ""), pipeline.PolicyDenied)
}
