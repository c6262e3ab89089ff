package policy

import (
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/limiter"
)

// Candidate is another size of a limit, judged beside it in shadow mode: what would happen if it were the limit?
type Candidate struct {
	N       int64
	Window  time.Duration
	OnLimit Action
}

// maxCandidates is how many a limit may have. Each costs a check as much as a limit.
const maxCandidates = 8

// candidates reads a list of candidates. Each starts from the limit that it stands beside, which was read before.
func candidates(l *Limit) value {
	return value{kind: "candidate list", item: "[]", fields: candidateFields(new(Candidate)), read: func(d *decoder, n *yaml.Node, path string) {
		l.Candidates = nil
		if !d.plain(n, path, yaml.SequenceNode, "a list of candidates, such as [{limit: 5}]") {
			return
		}
		if len(n.Content) > maxCandidates {
			d.bad(n, path, "%d candidates: write at most %d", len(n.Content), maxCandidates)
			return
		}
		live := Candidate{l.N, l.Window, l.OnLimit}
		for i, item := range n.Content {
			c, at := live, element(path, i)
			d.object(item, at, candidateFields(&c), true)
			switch {
			case c == live:
				d.bad(item, at, "it is the limit itself: write a limit, window or on_limit that differs")
			case slices.Contains(l.Candidates, c):
				d.bad(item, at, "the same candidate stands here twice: keep one of them")
			}
			l.Candidates = append(l.Candidates, c)
		}
	}}
}

func candidateFields(c *Candidate) []field {
	return []field{
		{"limit", integer(&c.N, 1, limiter.MaxN), "", "How many units. Left out: as the limit."},
		{"window", duration(&c.Window, limiter.MinWindow, limiter.MaxWindow), "", "The length of the window. Left out: as the limit."},
		{"on_limit", choice(&c.OnLimit, Deny, Challenge), "", "The verdict when it is reached. Left out: as the limit."},
	}
}

// settleCandidates makes a limit in shadow mode of each candidate, right after the limit that it stands beside. The limits are settled:
// what one stands in for, its candidates do.
func (p *Policy) settleCandidates() {
	var all []Limit
	for i := range p.Limits {
		l := p.Limits[i]
		all = append(all, l)
		for _, c := range l.Candidates {
			beside := l
			beside.Name, beside.CandidateOf, beside.Candidates = c.name(&l), l.Name, nil
			beside.N, beside.Window, beside.OnLimit, beside.Mode, beside.FailMode = c.N, c.Window, c.OnLimit, Shadow, Open
			if c.OnLimit != l.OnLimit { // as settleLimits has it
				beside.NotAfterChallenge = !l.AfterChallenge && c.OnLimit == Challenge && l.Match.ChallengePassed == nil
			}
			all = append(all, beside)
		}
	}
	p.Limits = all
}

// name is the limit's and what differs: number-30m~5, number-30m~10/1h, client-minute~10:deny.
func (c *Candidate) name(l *Limit) string {
	name := l.Name + "~" + strconv.FormatInt(c.N, 10)
	if c.Window != l.Window {
		name += "/" + formatDuration(c.Window)
	}
	if c.OnLimit != l.OnLimit {
		name += ":" + string(c.OnLimit)
	}
	return name
}
