package replay

import (
	"cmp"
	"context"
	"slices"
)

// Difference is how the verdicts of two policies on one log differ.
type Difference struct {
	// Moves are the sends by what the first policy says and what the second says.
	Moves [words][words]Tally
	// Causes are the reasons of the sends that only one policy stops: what stops them, and what else is said of them.
	Causes map[Change]*Tally
	// Countries are those sends by country: stopped by the second only, and by the first only.
	Countries map[string]*[2]Tally

	waiting waiting[moved]
}

// Change is a send that the two judge differently.
type Change struct{ From, To Cause }

type moved struct {
	change  Change
	country string
	money   int64
}

// NewDifference makes an empty one.
func NewDifference() *Difference {
	return &Difference{Causes: map[Change]*Tally{}, Countries: map[string]*[2]Tally{}, waiting: newWaiting[moved]()}
}

// compare lets the other policy judge what was just judged. The event is the same; each follows its own counterfactual.
func (r *Replayer) compare(ctx context.Context, o *RunOptions) error {
	b := o.Beside
	if _, err := b.judge(ctx, &r.event, nil); err != nil {
		return err
	}
	if o.Difference == nil {
		return nil
	}
	if string(r.event.kind) == "outcome" {
		if string(r.event.outcome) == "verified" {
			o.Difference.verified(hash(r.event.id))
		}
		return nil
	}
	o.Difference.send(&r.last, &b.last)
	return nil
}

func (d *Difference) send(a, b *judged) {
	m := moved{Change{a.stop.cause, b.stop.cause}, a.stop.country, a.stop.money}
	d.count(&m, &Tally{Sends: 1, Money: m.money})
	if m.change.From.Word != Allowed || m.change.To.Word != Allowed {
		d.waiting.add(a.id, m)
	}
}

func (d *Difference) verified(id uint64) {
	if m, ok := d.waiting.take(id); ok {
		d.count(&m, &Tally{Verified: 1, VerifiedMoney: m.money})
	}
}

func (d *Difference) count(m *moved, t *Tally) {
	from, to := m.change.From.Word, m.change.To.Word
	d.Moves[from][to].add(t)
	if from.Stops() == to.Stops() {
		return
	}
	place(d.Causes, m.change, Change{Cause{from, other}, Cause{to, other}}, maxReasons).add(t)
	side := 0
	if from.Stops() {
		side = 1
	}
	place(d.Countries, cmp.Or(m.country, "ZZ"), other, maxPlaces)[side].add(t)
}

// Only are the sends that only one policy stops: the second, or the first.
func (d *Difference) Only(second bool) (t Tally) {
	for from := range words {
		for to := range words {
			if from.Stops() != to.Stops() && to.Stops() == second {
				t.add(&d.Moves[from][to])
			}
		}
	}
	return t
}

// Top are the changes with most sends, those that only the second policy stops or those that only the first does.
func (d *Difference) Top(second bool, n int) []Change {
	var all []Change
	for c := range d.Causes {
		if c.To.Word.Stops() == second {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(d.Causes[b].Sends, d.Causes[a].Sends), cmp.Compare(a.To.Reason, b.To.Reason), cmp.Compare(a.From.Reason, b.From.Reason),
			cmp.Compare(a.To.Word, b.To.Word), cmp.Compare(a.From.Word, b.From.Word))
	})
	return all[:min(n, len(all))]
}
