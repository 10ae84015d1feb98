package tour

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Style says what the output can show.
type Style struct {
	Colour  bool // escape sequences for colour
	Unicode bool // marks beyond ASCII
}

// width is where lines end: that of a terminal nobody widened.
const width = 80

// screen writes the tour. What comes from the gateway or a tool passes through clean.
type screen struct {
	out   io.Writer
	style Style
	err   error // the first of writing; nothing is written after it
}

// Colours, as SGR parameters (ECMA-48).
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "1;32"
	yellow = "33"
	cyan   = "1;36"
)

func (s *screen) paint(colour, text string) string {
	if !s.style.Colour || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *screen) line(format string, args ...any) {
	if s.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(s.out, strings.TrimRight(text, " ")); err != nil {
		s.err = fmt.Errorf("%w: %w", ErrPrint, err)
	}
}

// marks in front of what passed, what did not, and what was not asked.
func (s *screen) mark(passed, asked bool) string {
	marks := [3]string{"ok", "NO", "--"}
	if s.style.Unicode {
		marks = [3]string{"\u2713 ", "\u2717 ", "\u00b7 "}
	}
	switch {
	case !asked:
		return s.paint(dim, marks[2])
	case passed:
		return s.paint(green, marks[0])
	}
	return s.paint(red, marks[1])
}

func (s *screen) opening(h *host) {
	s.line("")
	s.line("%s", s.paint(cyan, "GATEWRIGHT, a guided tour in six acts"))
	s.text("An agent works in a small shop: it reads orders, mails, and takes notes. Each of its calls passes a gateway, which this tour has just started for itself.")
	s.line("")
	s.field("agents", h.url)
	s.field("people", h.control)
	s.field("data", h.data+", removed at the end")
}

// plan shows what was captured.
func (s *screen) plan(p *gatewright.Plan, token string) {
	s.line("")
	s.line("%s", s.paint(bold, "The plan"))
	s.text("Before it does anything, the agent says what it will do. The gateway checks it, signs it, and gives a token for it.")
	s.line("")
	for i, step := range p.Steps {
		s.line("   %d  %s %s", i, s.paint(yellow, fmt.Sprintf("%-18s", clean(step.Server+"/"+step.Tool))), planned[i])
	}
	s.line("")
	s.field("plan", p.ID)
	s.field("root", p.Root.String())
	s.field("token", token)
}

func (s *screen) field(name, value string) {
	s.line("   %s %s", s.paint(dim, fmt.Sprintf("%-8s", name)), clean(value))
}

func (s *screen) act(n int, title, story string) {
	head := fmt.Sprintf("%d  %s ", n, title)
	s.line("")
	s.line("%s%s", s.paint(cyan, head), s.paint(dim, strings.Repeat("-", max(0, width-len(head)))))
	s.text(story)
}

// call shows what is asked.
func (s *screen) call(c call) {
	s.line("")
	if c.story != "" {
		s.text(c.story)
	}
	s.line("   %s", s.paint(yellow, "> demo/"+c.tool))
	for args := clean(c.args); args != ""; {
		n := len(args)
		if n > width-5 {
			n = strings.LastIndexAny(args[:width-5], ", ") + 1
		}
		if n == 0 {
			n = width - 5
		}
		s.line("     %s", args[:n])
		args = args[n:]
	}
}

// stages is the table of what each stage said, and of those that were not asked any more.
func (s *screen) stages(o *outcome, row []string) {
	s.line("")
	asked := o.stages()
	for i, st := range asked {
		passed := o.refusal == nil || i < len(asked)-1
		s.stage(st.Name, passed, true, time.Duration(st.Micros)*time.Microsecond, says(st.Name, o, passed))
	}
	if o.refusal != nil {
		for _, name := range row {
			if !slices.ContainsFunc(asked, func(st ledger.StageTime) bool { return st.Name == name }) {
				s.stage(name, false, false, -1, "not asked any more")
			}
		}
		return
	}
	s.stage("admit", true, true, o.admission(), "the use counted, the record durable")
	s.stage("forward", true, true, time.Duration(o.record.Micros)*time.Microsecond, "the tool answered")
	if o.record.Detail != "" {
		s.stage("filter", true, true, -1, o.record.Detail)
	}
}

func (s *screen) stage(name string, passed, asked bool, took time.Duration, says string) {
	colour := ""
	switch {
	case !asked:
		colour = dim
	case !passed:
		colour = red
	}
	text := fmt.Sprintf("%-9s %8s  %s", clean(name), duration(took), clip(clean(says), width-29))
	s.line("     %s %s", s.mark(passed, asked), s.paint(colour, text))
}

// says is what a stage looked at, or why it refused.
func says(name string, o *outcome, passed bool) string {
	if !passed {
		return "refused: " + o.refusal.Code
	}
	switch name {
	case "identify":
		return "the key of " + o.record.Agent
	case "quota":
		return "within its rates"
	case "read":
		return "one message of strict JSON"
	case "retry":
		return "not a retry of an answered call"
	case "intent":
		return fmt.Sprintf("step %d of the signed plan, with its arguments", o.record.Step)
	case "filter":
		switch r := o.judged(); {
		case r.Detail != "":
			return r.Detail
		case len(r.Labels) > 0:
			return "labels put on the call"
		}
		return "nothing to hide in the arguments"
	case "decide":
		return "permitted by " + strings.Join(o.judged().Policies, ", ")
	}
	return ""
}

// verdict is the line that matters, with where to find it again.
func (s *screen) verdict(o *outcome, text string) {
	word := s.paint(green, "ALLOWED")
	if o.refusal != nil {
		word = s.paint(red, "REFUSED")
	}
	s.line("")
	s.line("   %s %s  %s", s.mark(o.refusal == nil, true), word, clip(clean(text), width-15))
	s.line("      %s", s.paint(dim, fmt.Sprintf("record %s, receipt %d bytes, %s", clean(o.record.ID), len(o.receipt), duration(o.took))))
	if len(o.record.Labels) > 0 {
		s.line("      %s", s.paint(dim, clip("labels "+clean(strings.Join(o.record.Labels, ", ")), width-6)))
	}
}

func (s *screen) proof(p *proof) {
	yes := s.mark(true, true)
	s.line("")
	s.line("   %s %d receipts verified offline; one of them, with a bit changed, was refused", yes, p.receipts)
	s.line("   %s %d records of the ledger verified offline: bytes, chain, trees, signatures", yes, p.report.Records)
	s.line("")
	s.field("key", p.key)
	s.field("root", fmt.Sprintf("%s of the organisation's %d records", p.demo.Root, p.demo.Size))
	s.line("")
	s.line("%d receipts and %d records verified offline.", p.receipts, p.report.Records)
}

// text writes a sentence in lines that fit.
func (s *screen) text(text string) {
	line := "  "
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width-2 {
			s.line("%s", line)
			line = "  "
		}
		line += " " + word
	}
	s.line("%s", line)
}

// duration is a time for people; nothing when it is not known.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// clean takes out what could move a cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// clip keeps a text within n characters.
func clip(text string, n int) string {
	r := []rune(text)
	if len(r) <= n {
		return text
	}
	return string(r[:max(0, n-3)]) + "..."
}
