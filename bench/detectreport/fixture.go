package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/sendgate/sendgate/internal/replay"
)

// fixture is the smallest development scenario, committed, so that a clone on its own can be judged.
const fixture = "detect/testdata/dev-10-tiny-fixture.jsonl.gz"

// judgeFixture plays a log through the engine of `sendgate replay` and scores it as score.py does, money apart.
func judgeFixture(path string) (*result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	r, err := replay.New(ctx, replay.Options{TableSize: 64 << 20})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := newScore()
	withheld := map[string]bool{} // outcomes of what was never sent
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var e struct{ T, Type, ID, Msisdn, Label, Sub string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if withheld[e.ID] {
			continue
		}
		line, err := r.Line(ctx, lines.Bytes(), nil)
		if err != nil {
			return nil, err
		}
		if e.Type != "send" {
			continue
		}
		var v struct{ Verdict, Reason string }
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, err
		}
		withheld[e.ID] = v.Verdict == "deny" || v.Verdict == "challenge" && e.Label != "benign"
		s.add(e.Label, e.Sub, e.Msisdn, v.Verdict, v.Reason)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	out := s.result()
	out.describe(&scenario{Name: "fixture"})
	return out, nil
}

// score counts as score.py does.
type score struct {
	sends   []scored
	victims map[string]bool // numbers that were flooded: their owners' trouble is the attacker's doing
}

type scored struct {
	label, sub, number string
	stopped, byLimit   bool
	hard               bool
	kind               string
}

func newScore() *score { return &score{victims: map[string]bool{}} }

func (s *score) add(label, sub, number, verdict, reason string) {
	prefix, rest, _ := strings.Cut(reason, ":")
	kind, _, _ := strings.Cut(rest, ":")
	s.sends = append(s.sends, scored{label, sub, number, verdict == "deny" || verdict == "challenge", prefix != "detect" && prefix != "block", verdict == "deny", kind})
	if sub == "victim_flood" || sub == "otp_bruteforce" {
		s.victims[number] = true
	}
}

func (s *score) result() *result {
	r := &result{Attacks: map[string]*attack{}, Gray: map[string]*gray{}, Benign: benign{BySub: map[string]sub{}}}
	for _, x := range s.sends {
		switch x.label {
		case "benign":
			if s.victims[x.number] {
				continue
			}
			b := r.Benign.BySub[x.sub]
			b.N++
			r.Benign.N++
			switch {
			case !x.stopped:
			case x.byLimit:
				b.Limit++
				r.Benign.Limit++
			case x.hard:
				b.Hard++
				r.Benign.Hard++
			default:
				b.Challenge++
				r.Benign.Challenge++
			}
			r.Benign.BySub[x.sub] = b
		case "retry_storm", "load_test":
			g := r.Gray[x.label]
			if g == nil {
				g = &gray{NamedAsAttack: map[string]int{}}
				r.Gray[x.label] = g
			}
			g.N++
			if x.stopped {
				g.Throttled++
				if !x.byLimit && x.kind != x.label {
					g.NamedAsAttack[x.kind]++
				}
			}
		default:
			a := r.Attacks[x.label]
			if a == nil {
				a = &attack{Type: x.sub}
				r.Attacks[x.label] = a
			}
			a.N++
			if !x.stopped {
				a.Through++
			}
		}
	}
	for _, a := range r.Attacks {
		a.Recall = 1 - float64(a.Through)/float64(a.N)
	}
	for _, g := range r.Gray {
		g.Throttled /= float64(g.N)
	}
	return r
}
