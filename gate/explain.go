package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
)

// Explanation is what a send would meet. No field of it holds a full number in a way that prints.
type Explanation struct {
	// Verdict is what Check would answer, without a check id. Where a delay counts refused sends its RetryAfter is what it is
	// before this one.
	Verdict Verdict
	// Send is the request in its one spelling, and Cost what it charges.
	Send policy.Send
	Cost int64
	// Price is what it costs, in millionths of Currency; 0 where there are no prices.
	Price    int64
	Currency string
	// Steps are those who have a say, in the order in which they are asked.
	Steps []Step
	// Rules are all of the policy: first those that apply, in the order in which they are charged.
	Rules []RuleState
	// Listed are the entries of lists that match.
	Listed []Listed
	// Detection is nil where there is none.
	Detection *Detection
}

// Step is one who may answer a send.
type Step struct {
	Name   string // test_numbers, block_list, consent, numbers, template, allow_list, client_address, detection or delays_and_limits
	Result string // pass, decides, or skipped where an earlier one decided
	Detail string // for people
}

// RuleState is one rule and how it stands to a send.
type RuleState struct {
	policy.Reason
	Name, Account string
	Kind          string // limit, delay or spend
	Mode          policy.Mode
	By            []policy.Part
	OnLimit       policy.Action
	FailMode      policy.FailMode
	CountDenied   bool
	Currency      string // of a budget
	// Limit and Window are 0 for a delay.
	Limit  int64
	Window time.Duration
	// Cost is what the send charges, Held what the key holds, Remaining what is left before the send.
	Cost, Held, Remaining int64
	// RetryAfter is how long until the send fits; 0 where it does now, or never will.
	RetryAfter time.Duration
	// Verdict is what the rule alone says; 0 where it does not apply.
	Verdict Kind
	// Decides says that the verdict names this rule.
	Decides bool
}

// Listed is an entry of a list that matches a send.
type Listed struct {
	lists.Entry
	Policy bool // it stands in the policy
}

// Detection is what detection knows of a send.
type Detection struct {
	Level    detect.Level
	Looks    bool // at this send: it is a one-time code and no number for tests
	Silent   bool // nobody reports outcomes of the account
	Advice   detect.Advice
	Evidence []detect.Evidence
}

// Explain says what Check would answer to a request now, and why. It charges, counts and remembers nothing. The caller of the
// request is taken for a trusted one, whatever the account; its idempotency key is not looked at. Errors are those of Check.
func (g *Gate) Explain(ctx context.Context, req *Request) (*Explanation, error) {
	for {
		r := g.rulesFor(req)
		e, err := g.explain(ctx, r, req)
		if !errors.Is(err, limiter.ErrForeignRule) || !g.changed(r) {
			return e, err
		}
		ask := *req
		ask.By = g.Snapshot()
		req = &ask
	}
}

func (g *Gate) explain(ctx context.Context, r *rules, req *Request) (*Explanation, error) {
	ask, at := *req, g.clock()
	ask.Caller = Caller{Trusted: true}
	if a := r.policy.Accounts[ask.Account]; a != nil && len(a.AllowAddresses) > 0 {
		ask.Caller.Peer = a.AllowAddresses[0].Addr()
	}
	s := new(scratch)
	if err := g.rehearse(ctx, r, &ask, s, at); err != nil {
		return nil, err
	}
	e := &Explanation{Verdict: s.event.Verdict, Send: s.event.Send, Cost: s.event.Cost}
	info := e.Send.Number.Info()
	e.Send.Country, e.Send.NumberType, e.Send.At = info.Country, info.Type, at
	known, err := g.knownGood(ctx, r, s)
	if err != nil {
		return nil, err
	}
	e.Send.KnownGood = known
	if r.prices != nil {
		e.Currency = r.prices.Currency()
		if e.Price, err = r.prices.Cost(e.Send.Number.Digits(), e.Cost); err != nil {
			e.Price = math.MaxInt64 // more than any budget
		}
	}
	e.Listed = g.listed(r, &e.Send, at)
	e.detection(g, r, s)
	e.steps(g, r, s, req)
	return e, e.rules(ctx, g, r, s)
}

// listed are the entries that match a send, of each list in each dimension the most specific.
func (g *Gate) listed(r *rules, send *policy.Send, at time.Time) []Listed {
	var out []Listed
	q := lists.Query{Number: send.Number.Digits(), Country: send.Country, Address: send.Client, Account: send.Account}
	add := func(set *lists.Set, fixed bool) {
		found := set.Lookup(q, at)
		for _, hit := range [...]lists.Hit{found.Test, found.Block, found.Allow} {
			for _, m := range [...]lists.Match{hit.Number, hit.Address, hit.Account} {
				if m.OK() {
					out = append(out, Listed{m.Entry(), fixed})
				}
			}
		}
	}
	add(r.lists, true)
	if g.lists != nil {
		add(g.lists.Snapshot(), false)
	}
	return out
}

func (e *Explanation) detection(g *Gate, r *rules, s *scratch) {
	if g.detect == nil {
		return
	}
	about := detectSend(&e.Send, e.Send.At)
	e.Detection = &Detection{
		Level: r.detect.Level, Silent: s.seen.send.Silent, Advice: s.seen.result.Advice, Evidence: g.detect.Evidence(&about),
	}
	if level, own := r.detect.Accounts[about.Account]; own {
		e.Detection.Level = level
	}
	e.Detection.Looks = s.seen.asked && about.Purpose == detect.OTP && e.Detection.Level != detect.LevelOff
}

// steps asks each who may refuse a send, until one decides.
func (e *Explanation) steps(g *Gate, r *rules, s *scratch, req *Request) {
	send, v := &e.Send, &e.Verdict
	l := g.look(r, send, e.Send.At)
	decided := false
	step := func(name string, ask func(v *Verdict) (decides bool, detail string)) {
		if decided {
			e.Steps = append(e.Steps, Step{name, "skipped", ""})
			return
		}
		var said Verdict
		decides, detail := ask(&said)
		result := "pass"
		if decided = decides; decides {
			result = "decides"
		}
		e.Steps = append(e.Steps, Step{name, result, detail})
	}
	step("test_numbers", func(v *Verdict) (bool, string) {
		if l.judgeTest(v) {
			return true, "it is a number for tests: allowed, and counted nowhere"
		}
		return false, "not on the list"
	})
	step("block_list", func(v *Verdict) (bool, string) {
		if l.judgeBlock(v) {
			_, why := l.result.Standing()
			return true, entryText(why.Entry())
		}
		if l.result.Block.OK() {
			return false, "on the list, but the allow list names it more exactly"
		}
		return false, "not on the list"
	})
	step("consent", func(v *Verdict) (bool, string) {
		if g.consent == nil {
			return false, "no record of consent is kept"
		}
		if g.judgeConsent(r, s.sender, send, v) {
			return true, v.Reason
		}
		return false, "the number did not opt out, and what needs consent has it"
	})
	step("numbers", func(v *Verdict) (bool, string) {
		info := send.Number.Info()
		what := fmt.Sprintf("%s number of %s", info.Type, orNone(info.Country))
		if !info.Valid {
			what = "a number that no numbering plan has, of " + orNone(info.Country)
		}
		if l.namesNumber() {
			return false, what + "; the allow list names it"
		}
		return r.judgeNumber(send, v), what
	})
	step("template", func(*Verdict) (bool, string) {
		switch {
		case strings.HasPrefix(v.Reason, "template:"):
			return true, v.Reason
		case req.Template.Name == "":
			return false, "the send names none"
		}
		return false, "its platform sends it"
	})
	step("allow_list", func(v *Verdict) (bool, string) {
		if l.judgeAllow(v) {
			_, why := l.result.Standing()
			return true, entryText(why.Entry()) + "; no limit and no detector stops it"
		}
		return false, "not on the list"
	})
	step("client_address", func(v *Verdict) (bool, string) {
		decides := r.judgeMissingClient(send, v)
		switch {
		case send.Client.IsValid():
			return false, send.Client.String()
		case decides:
			return true, "there is none, and client_address.missing_client says " + string(r.policy.ClientAddress.MissingClient)
		}
		return false, "there is none: " + missingText(r.policy.ClientAddress.MissingClient)
	})
	step("detection", func(*Verdict) (bool, string) {
		switch {
		case e.Detection == nil:
			return false, "there is none"
		case !e.Detection.Looks:
			return false, "it looks at one-time codes, where its level is not off"
		case v.ByDetection() && v.Kind != Allow:
			return true, "advises " + e.Detection.Advice.String()
		case v.Kind != Allow && e.Detection.Advice.Stops():
			return false, "advises " + e.Detection.Advice.String() + "; a limit is stricter"
		}
		return false, "advises " + e.Detection.Advice.String()
	})
	step("delays_and_limits", func(*Verdict) (bool, string) {
		switch {
		case v.Kind != Allow:
			return true, v.Reason
		case v.Rule != "":
			return false, fmt.Sprintf("all fit; the fewest units are left of %s", v.Rule)
		}
		return false, "all fit"
	})
}

func missingText(action policy.Action) string {
	if action == policy.Bucket {
		return "all such sends share one key of each rule by client"
	}
	return "rules by client do not apply"
}

func orNone(country string) string {
	if country == "" {
		return "no country"
	}
	return country
}

func entryText(e lists.Entry) string {
	text := e.Target.String()
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	if e.Author != "" {
		text += " (" + e.Author + ")"
	}
	if !e.Expires.IsZero() {
		text += ", until " + e.Expires.UTC().Format(time.RFC3339)
	}
	return text
}

// rules asks every rule of the policy.
func (e *Explanation) rules(ctx context.Context, g *Gate, r *rules, scratch *scratch) error {
	var apply, rest []RuleState
	add := func(l *rule, kind string, why policy.Reason, cost int64) error {
		if twin := scratch.shadowOf(l); twin != nil {
			l = twin
		}
		s := RuleState{Reason: why, Name: l.name, Account: l.account, Kind: kind, Mode: policy.Enforce, By: l.by, OnLimit: l.onLimit, FailMode: l.failMode,
			CountDenied: l.countDenied, Limit: l.n, Window: l.window}
		if l.shadow {
			s.Mode = policy.Shadow
		}
		if kind == "spend" {
			s.Currency = e.Currency
		}
		if !why.Applies {
			rest = append(rest, s)
			return nil
		}
		if s.Cost = cost; kind == "spend" && cost == 0 {
			s.Why += "; a message that costs nothing is charged nowhere"
		}
		if err := s.ask(ctx, g, r, l, e); err != nil {
			return err
		}
		s.Decides = e.Verdict.Rule == l.name && !l.shadow && (e.Verdict.Kind == Allow && l.n > 0 || e.Verdict.Reason == l.reason)
		apply = append(apply, s)
		return nil
	}
	for i := range r.delays {
		if err := add(&r.delays[i], "delay", r.policy.WhyDelay(i, &e.Send), 1); err != nil {
			return err
		}
	}
	for i := range r.limits {
		if err := add(&r.limits[i], "limit", r.policy.WhyLimit(i, &e.Send), e.Cost); err != nil {
			return err
		}
	}
	for i := range r.spend {
		if err := add(&r.spend[i], "spend", r.policy.WhySpend(i, &e.Send), e.Price); err != nil {
			return err
		}
	}
	e.Rules = append(apply, rest...)
	return nil
}

// ask fills in what a rule that applies holds and says.
func (s *RuleState) ask(ctx context.Context, g *Gate, r *rules, l *rule, e *Explanation) error {
	key, _ := r.policy.AppendKey(nil, l.by, &e.Send)
	never := l.n > 0 && s.Cost > l.n
	c := limiter.Charge{Rule: l.store, Key: g.key(key), Cost: max(1, s.Cost)}
	if never {
		c.Cost = 1
		s.Why += "; it charges more than the whole limit, so it never fits"
	}
	u, err := r.in(g, l).Peek(ctx, e.Send.At, c)
	if err != nil {
		return unavailable(err)
	}
	s.Held, s.RetryAfter = u.Held, u.RetryAfter
	if l.n > 0 {
		s.Remaining = max(0, l.n-u.Held)
	}
	step := l.challengeAt > 0 && u.Held+s.Cost > l.challengeAt && !e.Send.ChallengePassed
	if step {
		s.Why += "; it is spent beyond its challenge_at"
	}
	challenges := l.onLimit == policy.Challenge && !e.Send.ChallengePassed
	switch {
	case l.of != "" && s.Cost == 0:
		s.Verdict, s.RetryAfter = Allow, 0
	case never:
		s.Verdict, s.RetryAfter = Deny, 0
	case u.RetryAfter > 0 && !challenges:
		s.Verdict = Deny
	case u.RetryAfter > 0, step:
		s.Verdict = Challenge
	default:
		s.Verdict = Allow
	}
	return nil
}

// ClientNetwork is the network of a client as it may be shown beside a masked number: an IPv4 /24 or an IPv6 /48.
func ClientNetwork(a netip.Addr) netip.Prefix {
	bits := 48
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
