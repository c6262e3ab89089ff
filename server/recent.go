package server

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// recentKept is how many decisions are kept, about 500 bytes each.
const recentKept = 10_000

// Recent keeps the latest decisions of a gate for operators to read, numbers masked and addresses cut to their network. It is an
// observer of one gate.
type Recent struct {
	seed maphash.Seed // so that a number can be looked for and none can be read

	mu   sync.Mutex
	kept []decision // a ring: that of sequence s is at (s-1) % recentKept
	last uint64
}

// decision is what is kept of one answered check.
type decision struct {
	at           time.Time
	kind         gate.Kind
	retryAfter   time.Duration
	number       uint64 // hashed
	masked       string
	country      string
	client       netip.Prefix
	signals      []string
	shadow       []gate.ShadowResult
	reason, rule string
	checkID      string
	policy       string
	account      string
	subaccount   string
	endpoint     string
	channel      string
	purpose      string
	sequence     uint64
}

// NewRecent makes an empty one.
func NewRecent() *Recent { return &Recent{seed: maphash.MakeSeed()} }

var noRecent = &failure{code: codes.FailedPrecondition, reason: "NO_RECENT", message: "this gate keeps no recent decisions"}

func (r *Recent) hash(number uint64) uint64 { return maphash.Comparable(r.seed, number) }

// Checked is called by the gate, from one goroutine.
func (r *Recent) Checked(e *gate.Event) {
	s, v := &e.Send, &e.Verdict
	d := decision{
		at: v.At, kind: v.Kind, retryAfter: v.RetryAfter, number: r.hash(s.Number.Digits()), masked: s.Number.String(), country: s.Number.Country(),
		client: gate.ClientNetwork(s.Client), reason: v.Reason, rule: v.Rule, checkID: v.CheckID, policy: v.PolicyVersion, account: s.Account,
		subaccount: s.Subaccount, endpoint: s.Endpoint, channel: s.Channel, purpose: s.Purpose,
	}
	for i := range v.Signals {
		d.signals = append(d.signals, v.Signals[i].Kind.String())
	}
	for i := range v.Shadow {
		if v.Shadow[i].Kind != v.Kind {
			d.shadow = append(d.shadow, v.Shadow[i])
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	d.sequence = r.last
	if len(r.kept) < recentKept {
		r.kept = append(r.kept, d)
		return
	}
	r.kept[(r.last-1)%recentKept] = d
}

// wanted says which decisions to list.
type wanted struct {
	in     *sendgatev1.RecentDecisionsRequest
	number uint64 // hashed, where the request has one
}

func (w *wanted) holds(d *decision) bool {
	in := w.in
	return (in.Verdict == 0 || toVerdict(d.kind) == in.Verdict) && strings.HasPrefix(d.reason, in.ReasonPrefix) &&
		(in.Account == "" || d.account == in.Account) && (in.Number == "" || d.number == w.number) && (!in.Shadowed || len(d.shadow) > 0)
}

// newest lists the decisions that are wanted, the newest first.
func (r *Recent) newest(size int, w *wanted) *sendgatev1.RecentDecisionsResponse {
	r.mu.Lock()
	kept, last := slices.Clone(r.kept), r.last
	r.mu.Unlock()
	out := &sendgatev1.RecentDecisionsResponse{LastSequence: last}
	for s := last; s > w.in.After && s+uint64(len(kept)) > last && len(out.Decisions) < size; s-- {
		if d := &kept[(s-1)%recentKept]; w.holds(d) {
			out.Decisions = append(out.Decisions, toDecision(d))
		}
	}
	return out
}

func toDecision(d *decision) *sendgatev1.RecentDecision {
	out := &sendgatev1.RecentDecision{
		Sequence: d.sequence, At: timestamppb.New(d.at), Verdict: toVerdict(d.kind), Reason: d.reason, Rule: d.rule, RetryAfter: toDuration(d.retryAfter),
		Number: d.masked, Country: d.country, Account: d.account, Subaccount: d.subaccount, Endpoint: d.endpoint, Channel: d.channel, Purpose: d.purpose,
		PolicyVersion: d.policy, Signals: d.signals, CheckId: d.checkID,
	}
	if d.client.IsValid() {
		out.ClientNetwork = d.client.String()
	}
	for i := range d.shadow {
		out.Shadow = append(out.Shadow, toShadow(&d.shadow[i]))
	}
	return out
}
