package alert

import (
	"fmt"
	"strings"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// Notice is what an operator is told: alerts that belong together.
type Notice struct {
	// Kind of the signals, such as "ait_range"; "detection" for a notice about detection itself.
	Kind string `json:"kind"`
	// About is what they have in common: a country, an address block, a masked number.
	About string `json:"about"`
	// Count is how many alerts there were, and Subjects the first of what they are about, masked.
	Count    int      `json:"count"`
	Subjects []string `json:"subjects"`
	// Text explains the first in words.
	Text string `json:"text"`
	// First and Last are when the alerts were raised.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Again says that this went on while nothing was told about it.
	Again bool `json:"again"`
}

// subjectsTold is how many subjects a notice names.
const subjectsTold = 10

// String is the notice as a line of a log.
func (n *Notice) String() string {
	more := ""
	if n.Count > 1 {
		more = fmt.Sprintf(" (and %d more: %s)", n.Count-1, strings.Join(n.Subjects[1:], ", "))
	}
	return n.Text + more
}

// groupKey is what alerts have in common that belong together: kind and country, for an address its block, for a number itself.
func groupKey(a *detect.Alert) (kind, about string) {
	s := &a.Signal.Subject
	if a.Text != "" {
		return "detection", s.Country.String()
	}
	kind = a.Signal.Kind.String()
	if s.Scope == detect.ScopeNumber || s.Country == 0 {
		return kind, s.String()
	}
	return kind, s.Country.String()
}

// groups puts alerts together and keeps quiet about what was told lately. It belongs to one goroutine.
type groups struct {
	silence time.Duration
	told    map[[2]string]*told
}

// told is a group that was told lately, and what came since.
type told struct {
	until time.Time
	kept  *Notice // nil: nothing
}

// most is how many groups are remembered; beyond it the told ones are forgotten, and may be told again early.
const most = 4096

// add takes new alerts and returns what is to be told now, in the order in which it began.
func (g *groups) add(alerts []detect.Alert, now time.Time) []*Notice {
	var out []*Notice
	open := map[[2]string]*Notice{}
	for i := range alerts {
		a := &alerts[i]
		kind, about := groupKey(a)
		key := [2]string{kind, about}
		if t := g.told[key]; t != nil && now.Before(t.until) {
			t.kept = join(t.kept, a, kind, about)
			continue
		}
		n := open[key]
		open[key] = join(n, a, kind, about)
		if n == nil {
			out = append(out, open[key])
		}
	}
	for key, t := range g.told {
		if now.Before(t.until) || open[key] != nil {
			continue
		}
		if t.kept != nil {
			t.kept.Again = true
			out = append(out, t.kept)
			t.until, t.kept = now.Add(g.silence), nil
			continue
		}
		delete(g.told, key)
	}
	if len(g.told)+len(open) > most {
		clear(g.told)
	}
	for key := range open {
		g.told[key] = &told{until: now.Add(g.silence)}
	}
	sortByFirst(out)
	return out
}

// join adds an alert to a notice, which is made if there is none.
func join(n *Notice, a *detect.Alert, kind, about string) *Notice {
	at := time.Unix(0, a.At).UTC()
	if n == nil {
		text := a.Text
		if text == "" {
			text = a.Signal.String()
		}
		n = &Notice{Kind: kind, About: about, Text: text, First: at}
	}
	n.Count++
	n.Last = at
	if len(n.Subjects) < subjectsTold {
		n.Subjects = append(n.Subjects, a.Signal.Subject.String())
	}
	return n
}
