package lists_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func entry(t testing.TB, list lists.List, text string) lists.Entry {
	t.Helper()
	return lists.Entry{List: list, Target: target(t, text), Reason: "because of " + text[len(text)-1:], Author: "kim", Created: noon}
}

func newSet(t testing.TB, entries ...lists.Entry) *lists.Set {
	t.Helper()
	s, err := lists.NewSet(entries...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var singapore = lists.Query{Number: 6591234567, Country: "SG", Address: netip.MustParseAddr("203.0.113.7"), Account: "acme"}

// name is the target of a match, or "".
func name(m lists.Match) string {
	if !m.OK() {
		return ""
	}
	return m.Entry().Target.String()
}

func TestLookup_mostSpecificWins(t *testing.T) {
	order := []string{"SG", "+6*", "+65*", "+659123*", "+659123****", "+6591234*", "+6591234***", "+65912345*", "+65912345**", "+6591234567"}
	var entries []lists.Entry
	for _, text := range order {
		entries = append(entries, entry(t, lists.Block, text))
		got := newSet(t, entries...).Lookup(singapore, noon)
		if want := target(t, text).String(); name(got.Block.Number) != want {
			t.Errorf("with %s: %s", text, name(got.Block.Number))
		}
	}
	// When the most specific ones expire, the next one answers.
	for i := len(order) - 1; i >= 0; i-- {
		for j := i; j < len(order); j++ {
			entries[j].Expires = noon
		}
		want := ""
		if i > 0 {
			want = order[i-1]
		}
		if got := newSet(t, entries...).Lookup(singapore, noon); name(got.Block.Number) != want {
			t.Errorf("without %s: %s, want %s", order[i], name(got.Block.Number), want)
		}
		if got := newSet(t, entries...).Lookup(singapore, noon.Add(-1)); name(got.Block.Number) != "+65****67" {
			t.Errorf("before the expiry: %s", name(got.Block.Number))
		}
	}
}

func TestLookup_lengthOfNumbers(t *testing.T) {
	s := newSet(t, entry(t, lists.Block, "+6591234***"), entry(t, lists.Allow, "+6591*"), entry(t, lists.Test, "+6591234567"))
	for number, want := range map[uint64][3]string{
		6591234567:       {"+6591*", "+6591234***", "+65****67"},
		6591234568:       {"+6591*", "+6591234***", ""},
		659123456:        {"+6591*", "", ""}, // a digit shorter than the range
		65912345678:      {"+6591*", "", ""},
		6581234567:       {"", "", ""},
		659:              {"", "", ""},
		0:                {"", "", ""},
		659123456789012:  {"+6591*", "", ""},
		6591234567890123: {"", "", ""}, // no E.164 number
		1<<64 - 1:        {"", "", ""},
	} {
		r := s.Lookup(lists.Query{Number: number}, noon)
		if got := [3]string{name(r.Allow.Number), name(r.Block.Number), name(r.Test.Number)}; got != want {
			t.Errorf("%d: %v, want %v", number, got, want)
		}
	}
}

func TestLookup_addresses(t *testing.T) {
	expired := entry(t, lists.Block, "203.0.113.0/28")
	expired.Expires = noon
	s := newSet(t, expired, entry(t, lists.Block, "203.0.112.0/23"), entry(t, lists.Block, "203.0.113.9"),
		entry(t, lists.Allow, "2001:db8::/48"), entry(t, lists.Block, "2001:db8:0:7::/64"))
	for text, want := range map[string][2]string{
		"203.0.113.7":        {"", "203.0.112.0/23"},
		"::ffff:203.0.113.9": {"", "203.0.113.9"},
		"203.0.114.1":        {"", ""},
		"2001:db8:0:7::1":    {"2001:db8::/48", "2001:db8:0:7::/64"},
		"2001:db8::1%eth0":   {"2001:db8::/48", ""},
	} {
		r := s.Lookup(lists.Query{Address: netip.MustParseAddr(text)}, noon)
		if got := [2]string{name(r.Allow.Address), name(r.Block.Address)}; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestResult_standing(t *testing.T) {
	for _, c := range []struct {
		allow, block []string
		want         lists.Standing
		by           string
	}{
		{nil, nil, lists.Unlisted, ""},
		{[]string{"+6591234567"}, nil, lists.Allowed, "+65****67"},
		{nil, []string{"+6591234567"}, lists.Blocked, "+65****67"},
		{[]string{"+6591234567"}, []string{"+6591*", "SG"}, lists.Allowed, "+65****67"},
		{[]string{"+6591*"}, []string{"+6591234567"}, lists.Blocked, "+65****67"},
		{[]string{"+6591*"}, []string{"+6591*"}, lists.Blocked, "+6591*"},
		{[]string{"SG"}, []string{"+6591*"}, lists.Blocked, "+6591*"},
		{[]string{"+6591*"}, []string{"SG"}, lists.Allowed, "+6591*"},
		{[]string{"203.0.113.7"}, []string{"203.0.113.0/24"}, lists.Allowed, "203.0.113.7"},
		{[]string{"203.0.113.0/24"}, []string{"203.0.113.0/24"}, lists.Blocked, "203.0.113.0/24"},
		{[]string{"+6591234567"}, []string{"203.0.113.0/24"}, lists.Blocked, "203.0.113.0/24"},
		{[]string{"203.0.113.7"}, []string{"SG"}, lists.Blocked, "SG"},
		{[]string{"203.0.113.7", "+6591*"}, []string{"SG", "203.0.113.0/24"}, lists.Allowed, "+6591*"},
		{[]string{"203.0.113.7", "+6591234567"}, []string{"account:acme"}, lists.Blocked, "account:acme"},
		{nil, []string{"account:acm", "account:acme/x", "account:" + "ACME"}, lists.Unlisted, ""},
	} {
		var entries []lists.Entry
		for _, text := range c.allow {
			entries = append(entries, entry(t, lists.Allow, text))
		}
		for _, text := range c.block {
			entries = append(entries, entry(t, lists.Block, text))
		}
		got, by := newSet(t, entries...).Lookup(singapore, noon).Standing()
		if got != c.want || name(by) != c.by {
			t.Errorf("allow %v, block %v: %v by %s", c.allow, c.block, got, name(by))
		}
	}
}

func TestResult_merge(t *testing.T) {
	policy := newSet(t, entry(t, lists.Block, "+6591*"), entry(t, lists.Allow, "203.0.113.0/24")).Lookup(singapore, noon)
	other := entry(t, lists.Allow, "203.0.113.0/24")
	other.Reason = "other"
	runtime := newSet(t, entry(t, lists.Block, "+6591234***"), other).Lookup(singapore, noon)
	got := runtime.Merge(policy)
	if name(got.Block.Number) != "+6591234***" || got.Allow.Match().Entry().Reason != "other" || got.Test.OK() {
		t.Fatalf("got %s, %+v", name(got.Block.Number), got.Allow.Match().Entry())
	}
	if got := policy.Merge(runtime); name(got.Block.Number) != "+6591234***" || got.Allow.Match().Entry().Reason == "other" {
		t.Fatalf("other way round: %s", name(got.Block.Number))
	}
}

func TestMatch_entryIsWhole(t *testing.T) {
	e := entry(t, lists.Block, "+6591234***")
	e.Expires = noon.Add(time.Hour)
	got := newSet(t, e).Lookup(singapore, noon).Block.Match().Entry()
	if got != e {
		t.Fatalf("got %+v, want %+v", got, e)
	}
	e.Expires = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
	if !newSet(t, e).Lookup(singapore, noon).Block.OK() {
		t.Fatal("an expiry in the far future has expired")
	}
}

func TestNewSet_errors(t *testing.T) {
	with := func(list lists.List, text string, change func(*lists.Entry)) []lists.Entry {
		e := entry(t, list, text)
		change(&e)
		return []lists.Entry{e}
	}
	nothing := func(*lists.Entry) {}
	for want, entries := range map[string][]lists.Entry{
		"+6591* is there twice":         {entry(t, lists.Block, "+6591*"), entry(t, lists.Block, "+6591*")},
		"+65****67 is there twice":      {entry(t, lists.Block, "+6591234567"), entry(t, lists.Block, "+6591234567")},
		"test list: SG: write a number": with(lists.Test, "SG", nothing),
		"203.0.113.7: write a number":   with(lists.Test, "203.0.113.7", nothing),
		"sealed with the secret":        with(lists.Allow, "hmac:5f1c2e90:OrGqEsIJ5Ky1zuDWzYbNCA:+65****67", nothing),
		"write allow, block or test":    with(7, "SG", nothing),
		"parse one with ParseTarget":    {{List: lists.Block}},
		"reason: 257 bytes":             with(lists.Block, "SG", func(e *lists.Entry) { e.Reason = strings.Repeat("x", 257) }),
		"reason: not valid UTF-8":       with(lists.Block, "SG", func(e *lists.Entry) { e.Reason = "\xff" }),
		"author: has a control":         with(lists.Block, "SG", func(e *lists.Entry) { e.Author = "a\nb" }),
		"reason: holds a phone number":  with(lists.Block, "SG", func(e *lists.Entry) { e.Reason = "asked by +6591234567" }),
	} {
		if _, err := lists.NewSet(entries...); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "1234567") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestZeroSet_isEmpty(t *testing.T) {
	var s lists.Set
	if r := s.Lookup(singapore, noon); r.Allow.OK() || r.Block.OK() || r.Test.OK() || s.Len() != 0 {
		t.Fatal("found something")
	}
	if _, ok := s.Find(lists.Block, target(t, "+6591*")); ok {
		t.Fatal("found something")
	}
}

// model is a list as a plain slice that is searched from end to end.
type model []lists.Entry

func (m model) lookup(q lists.Query, now time.Time) (out [3][3]string) {
	best := [3][3]int{}
	number := fmt.Sprintf("+%d", q.Number)
	for _, e := range m {
		if !e.Expires.IsZero() && !now.Before(e.Expires) {
			continue
		}
		text := modelText[e.Target]
		dimension, score := 0, 0
		switch stem := strings.TrimRight(text, "*"); {
		case strings.HasPrefix(text, "account:"):
			dimension = 2
			if text == "account:"+q.Account {
				score = 1
			}
		case strings.ContainsAny(text, ".:"):
			dimension = 1
			p, err := netip.ParsePrefix(text)
			if err != nil {
				a := netip.MustParseAddr(text)
				p = netip.PrefixFrom(a, a.BitLen())
			}
			if p.Contains(q.Address) {
				score = 1 + p.Bits()
			}
		case text[0] != '+':
			if text == q.Country {
				score = 1
			}
		case text == number:
			score = 1000
		case strings.HasSuffix(text, "**"):
			if len(text) == len(number) && strings.HasPrefix(number, stem) {
				score = 10*len(stem) + 1
			}
		case strings.HasSuffix(text, "*"):
			if strings.HasPrefix(number, stem) {
				score = 10 * len(stem)
			}
		}
		if score > best[e.List][dimension] {
			best[e.List][dimension], out[e.List][dimension] = score, e.Target.String()+"/"+e.Reason
		}
	}
	return out
}

func (m model) without(list lists.List, t lists.Target) model {
	var out model
	for _, e := range m {
		if e.List != list || e.Target != t {
			out = append(out, e)
		}
	}
	return out
}

// The texts of a small world, in which entries often cover one another.
var modelTexts = []string{
	"+6591234567", "+6591234568", "+6591234599", "+659123456", "+65912345678", "+1234567", "+6591234***", "+65912345**", "+659123****", "+65912345***",
	"+6*", "+65*", "+6591*", "+659123*", "+6591234*", "+65912345*", "+1*", "SG", "US",
	"203.0.113.7", "203.0.113.0/24", "203.0.112.0/20", "203.0.0.0/8", "2001:db8::7", "2001:db8::/64", "2001:db8::/48",
	"+1234567*", "2001:db8::/80", "2001:db8:0:1::/64", "2001:db8:0:1::/72", "2001:db8::/63", "::/64", "::/48", "account:acme", "account:globex",
}

var modelText = func() map[lists.Target]string {
	m := map[lists.Target]string{}
	for _, text := range modelTexts {
		t, err := lists.ParseTarget(text)
		if err != nil {
			panic(err)
		}
		m[t] = text
	}
	return m
}()

func results(r lists.Result) (out [3][3]string) {
	for i, h := range []lists.Hit{r.Allow, r.Block, r.Test} {
		for j, m := range []lists.Match{h.Number, h.Address, h.Account} {
			if m.OK() {
				out[i][j] = m.Entry().Target.String() + "/" + m.Entry().Reason
			}
		}
	}
	return out
}

func drawQuery(t *rapid.T) lists.Query {
	q := lists.Query{
		Number:  rapid.SampledFrom([]uint64{6591234567, 6591234568, 6591234599, 659123456, 65912345678, 1234567, 6581111111, 0}).Draw(t, "number"),
		Country: rapid.SampledFrom([]string{"SG", "US", "GB", ""}).Draw(t, "country"),
		Account: rapid.SampledFrom([]string{"acme", "globex", ""}).Draw(t, "account"),
	}
	if text := rapid.SampledFrom([]string{"203.0.113.7", "203.0.113.8", "203.0.127.1", "203.1.1.1", "2001:db8::7", "2001:db8::8", "2001:db8:0:1::1", "::7", ""}).Draw(t, "address"); text != "" {
		q.Address = netip.MustParseAddr(text)
	}
	return q
}

func drawEntry(t *rapid.T, serial int) lists.Entry {
	text := rapid.SampledFrom(modelTexts).Draw(t, "text")
	target, err := lists.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	e := lists.Entry{List: lists.List(rapid.IntRange(0, 2).Draw(t, "list")), Target: target, Reason: fmt.Sprint(serial), Author: "kim"}
	if k := target.Kind(); e.List == lists.Test && (k == lists.KindAddress || k == lists.KindCountry) {
		e.List = lists.Block
	}
	if target.Kind() == lists.KindAccount {
		e.List = lists.Block
	}
	if n := rapid.IntRange(0, 3).Draw(t, "expires"); n > 0 {
		e.Expires = noon.Add(time.Duration(n) * 20 * time.Minute)
	}
	return e
}

func TestSet_againstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m model
		for i := range rapid.IntRange(0, 30).Draw(t, "entries") {
			e := drawEntry(t, i)
			m = append(m.without(e.List, e.Target), e)
		}
		s, err := lists.NewSet(m...)
		if err != nil {
			t.Fatal(err)
		}
		q, now := drawQuery(t), noon.Add(time.Duration(rapid.IntRange(-1, 61).Draw(t, "minute"))*time.Minute)
		if got, want := results(s.Lookup(q, now)), m.lookup(q, now); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
