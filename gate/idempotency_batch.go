package gate

import (
	"cmp"
	"context"
	"slices"

	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/policy"
)

// knownItems are the items of an all-or-none batch that have idempotency keys.
type knownItems struct {
	calls []replies.Call // of the first item with each key
	item  []int          // of each call
	done  map[int]bool   // items that need not be judged
	twin  map[int]int    // items that repeat an earlier one of the batch
}

// beginAll begins the calls of all items with keys, and fills in the answers that are known. Keys are begun in their order, so
// that two batches which share keys wait for each other one way only.
func (g *Gate) beginAll(ctx context.Context, r *rules, reqs []*Request, answers []Answer, s *scratch) *knownItems {
	k := &knownItems{done: map[int]bool{}, twin: map[int]int{}}
	if g.replies == nil {
		return k
	}
	type asking struct {
		item int
		replies.Question
	}
	var all []asking
	first := make(map[[2]string]asking)
	fail := func(item int, err error) { answers[item], k.done[item] = Answer{Err: err}, true }
	for i, req := range reqs {
		if req.IdempotencyKey == "" {
			continue
		}
		var send policy.Send
		q, err := g.question(r, askedSend, req, "", &send, s)
		if err != nil {
			fail(i, err)
			continue
		}
		name := [2]string{q.Account, q.Key}
		if other, twice := first[name]; !twice {
			first[name] = asking{i, q}
			all = append(all, first[name])
		} else if other.Body == q.Body {
			k.twin[i], k.done[i] = other.item, true
		} else {
			fail(i, errKeyReused())
		}
	}
	slices.SortFunc(all, func(a, b asking) int { return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Key, b.Key)) })
	for _, a := range all {
		call, err := g.begin(ctx, a.Question, s)
		if err != nil {
			fail(a.item, err)
			continue
		}
		k.calls, k.item = append(k.calls, call), append(k.item, a.item)
		switch call.State {
		case replies.Conflict:
			fail(a.item, errKeyReused())
		case replies.Done:
			if v, ok := readVerdict(call.Reply); ok {
				v.Replayed = true
				answers[a.item], k.done[a.item] = Answer{Verdict: v}, true
			}
		}
	}
	return k
}

func (k *knownItems) answered(item int) bool { return k.done[item] }

// twins is how many items repeat an earlier one of the batch, whose answer they share.
func (k *knownItems) twins() int { return len(k.twin) }

// finish remembers the answers, and gives twins theirs.
func (k *knownItems) finish(g *Gate, answers []Answer, s *scratch) {
	for i, item := range k.item {
		if a := &answers[item]; a.Err == nil && !k.done[item] {
			// An answer that cannot be remembered is one all the same.
			_ = g.finish(&k.calls[i], &a.Verdict, s)
		}
	}
	for item, of := range k.twin {
		answers[item] = answers[of]
		answers[item].Verdict.Replayed = answers[of].Err == nil
	}
}

// abandon lets others ask what was not answered.
func (k *knownItems) abandon() {
	for i := range k.calls {
		k.calls[i].Abandon()
	}
}
