package server

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// boardOf is a board of a gate with a policy.
func boardOf(t testing.TB, text string) *Board {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte("version: 1\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	b := NewBoard(nil)
	b.inForce = func() *policy.Policy { return p }
	return b
}

// digits is a number that a numbering plan can have.
func digits(d uint64) phone.Number {
	n, err := phone.FromDigits(d)
	if err != nil {
		panic(err)
	}
	return n
}

func denied(reason string, number phone.Number, client string) *gate.Event {
	return &gate.Event{Send: policy.Send{Number: number, Client: netip.MustParseAddr(client), Endpoint: "signup"}, Cost: 1,
		Verdict: gate.Verdict{Kind: gate.Deny, Reason: reason}}
}

const limitsOfAllKinds = `limits:
- {name: by-number, by: [number], limit: 1, window: 60s}
- {name: by-client, by: [client], limit: 1, window: 60s}
- {name: by-both, by: [client, number], limit: 1, window: 60s}
- {name: by-range, by: [range3], limit: 1, window: 60s}
- {name: by-endpoint, by: [endpoint], limit: 1, window: 60s}
`

func TestBoard_masksKeys(t *testing.T) {
	number := digits(6581234567)
	for reason, want := range map[string]string{
		"limit:by-number": "number +65****67", "limit:by-client": "client 203.0.113.0/24", "limit:by-both": "number +65****67",
		"limit:by-range": "range +6581234***", "limit:by-endpoint": "endpoint signup",
	} {
		b := boardOf(t, limitsOfAllKinds)
		b.Checked(denied(reason, number, "203.0.113.7"))
		keys := b.limited().Keys
		if len(keys) != 1 || keys[0].Rule != reason || keys[0].Key != want || keys[0].Refused != 1 {
			t.Errorf("%s: %v, want %s", reason, keys, want)
		}
	}
	b := boardOf(t, limitsOfAllKinds)
	e := denied("limit:by-endpoint", number, "203.0.113.7")
	e.Send.Endpoint = "to-6581234567"
	b.Checked(e)
	if key := b.limited().Keys[0].Key; key != "endpoint (hidden)" {
		t.Errorf("a name that holds a number is shown as %q", key)
	}
}

// An attacker who is ever somebody else neither fills the memory, nor hides the one who comes often.
func TestBoard_isBounded(t *testing.T) {
	b := boardOf(t, limitsOfAllKinds)
	often := denied("limit:by-number", digits(6581234567), "203.0.113.7")
	for i := range 50_000 {
		b.Checked(denied("limit:by-number", digits(uint64(99890_0000000+i*997)), "198.51.100.9"))
		b.Checked(denied(fmt.Sprintf("consent:%d", i), digits(6591234567), "198.51.100.9"))
		if i%100 == 0 {
			b.Checked(often)
		}
		if i%5000 == 0 {
			b.roll(time.Unix(int64(i), 0), latency{}, 0)
		}
	}
	for i := range 2000 {
		b.roll(time.Unix(int64(100_000+i), 0), latency{}, 0)
	}
	if len(b.keys.rows) > 1024 || len(b.ranges.rows) > 2048 || len(b.reasons) > boardReasons || len(b.rules) > boardRules || len(b.past) > boardPast || cap(b.past) > 3*boardPast {
		t.Errorf("%d keys, %d ranges, %d reasons, %d rules, %d seconds", len(b.keys.rows), len(b.ranges.rows), len(b.reasons), len(b.rules), len(b.past))
	}
	if k := b.limited().Keys; len(k) == 0 || k[0].Key != "number +65****67" {
		t.Errorf("the number that came often is put out: %v", k)
	}
	if all := b.sums(); all.denied != 100_500 {
		t.Errorf("%d denied, want 100500", all.denied)
	}
}

func TestBoard_seconds(t *testing.T) {
	b := boardOf(t, limitsOfAllKinds)
	b.Checked(&gate.Event{Cost: 1, Verdict: gate.Verdict{Kind: gate.Allow}})
	b.Checked(&gate.Event{Cost: 1, Verdict: gate.Verdict{Kind: gate.Challenge, Reason: "block:ait_range:range4"}})
	b.Checked(denied("limit:by-number", digits(6581234567), "203.0.113.7"))
	b.Reported(&gate.Event{})
	b.roll(time.Unix(100, 0), latency{.5, 1}, 7)
	b.Checked(&gate.Event{Cost: 1, Verdict: gate.Verdict{Kind: gate.Allow}})
	b.roll(time.Unix(101, 0), latency{}, 0)
	got := b.since(0, 900)
	want := &sendgatev1.BoardSecond{At: 100, Allowed: 1, Challenged: 1, Denied: 1, ByLimit: 1, ByDetection: 1, P50: .5, P99: 1, Failed: 7, Outcomes: 1}
	if len(got) != 2 || !proto.Equal(got[0], want) {
		t.Errorf("got %v, want %v first", got, want)
	}
	if s := b.since(100, 900); len(s) != 1 || s[0].At != 101 || s[0].Allowed != 1 {
		t.Errorf("after the first: %v", s)
	}
	if s := b.since(0, 1); len(s) != 1 || s[0].At != 101 {
		t.Errorf("the newest only: %v", s)
	}
	for i := range 60 {
		b.roll(time.Unix(int64(102+i), 0), latency{}, 0)
	}
	for _, r := range b.why().Reasons {
		if r.Denied+r.Challenged != 0 || r.Total != 1 {
			t.Errorf("a minute later: %v", r)
		}
	}
}

// A send that several blocks cover is stopped once.
func TestBoard_attackCountsASendOnce(t *testing.T) {
	b := boardOf(t, limitsOfAllKinds)
	subject := func(scope detect.Scope, d uint64) detect.Subject {
		return detect.Subject{Scope: scope, Country: detect.CountryOf("UZ"), Digits: d}
	}
	var blocks []detect.Block
	for _, s := range []detect.Subject{subject(detect.ScopeRange4, 99890721), subject(detect.ScopeRange3, 998907218), subject(detect.ScopeRange5, 9989056)} {
		blocks = append(blocks, detect.Block{Kind: detect.AITRange, Subject: s, Stopped: 10, Signal: detect.Signal{Kind: detect.AITRange, Subject: s, Sessions: 20, Expected: 9}})
	}
	for range 10 {
		e := denied("block:ait_range:range3", digits(998907218123), "203.0.113.7")
		e.Verdict.Signals = []detect.Signal{blocks[1].Signal, blocks[0].Signal}
		b.Checked(e)
	}
	attacks := b.attacks(blocks).Attacks
	if len(attacks) != 1 {
		t.Fatalf("got %v", attacks)
	}
	a := attacks[0]
	if a.Stopped != 10 || a.Blocks != 3 || a.Sessions != 40 || a.Country != "UZ" || a.Kind != "ait_range" {
		t.Errorf("got %v", a)
	}
	if len(a.Maps) != 2 || a.Maps[0].Range != "+9989072*****" || a.Maps[0].Asked[18] != 10 || a.Maps[0].Refused[18] != 10 || !slices.Equal(a.Maps[0].Blocked, placesFrom(10, 10)) {
		t.Errorf("the map of what was asked for: %v", a.Maps)
	}
	if len(a.Maps) == 2 && !slices.Equal(a.Maps[1].Blocked, placesFrom(0, 100)) {
		t.Errorf("a range that is blocked as a whole: %v", a.Maps[1].Blocked)
	}
	if strings.Contains(a.String(), "998907218123") {
		t.Error("a number in an attack")
	}
	if again := b.attacks(nil); len(again.Attacks) != 0 || len(b.tolls) != 0 {
		t.Errorf("it is over, and %v", b.tolls)
	}
}

// A map of six masked digits adds up what those of five have.
func TestBoard_wideMap(t *testing.T) {
	b := boardOf(t, limitsOfAllKinds)
	for _, d := range []uint64{998907218123, 998907219999, 998907300000} {
		b.Checked(denied("limit:by-number", digits(d), "203.0.113.7"))
	}
	m := b.rangeMap(998907, 6)
	if m.Range != "+998907******" || m.Masked != 4 || m.Asked[21] != 2 || m.Asked[30] != 1 || sum(m.Asked) != 3 {
		t.Errorf("got %v", m)
	}
}

// What is kept is what was counted most, whatever comes between.
func TestBusiest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBusiest[int](4, func(n int) float32 { return float32(n) })
		for _, k := range rapid.SliceOfN(rapid.IntRange(10, 1000), 0, 200).Draw(t, "strangers") {
			b.set(1, b.rows[1]+2)
			b.set(k, b.rows[k]+1)
			if len(b.rows) > 8 {
				t.Fatalf("%d rows", len(b.rows))
			}
			if b.top(1)[0] != 1 && b.rows[b.top(1)[0]] < b.rows[1] || b.rows[1] == 0 {
				t.Fatalf("the busiest was put out: %v", b.rows)
			}
		}
	})
}

func TestQuantile(t *testing.T) {
	bounds := []float64{1, 2, 4, math.Inf(1)}
	for _, tt := range []struct {
		share float64
		up    []uint64
		want  float64
	}{
		{.5, []uint64{0, 0, 0, 0}, 0},
		{.5, []uint64{10, 10, 10, 10}, .5},
		{.5, []uint64{0, 10, 10, 10}, 1.5},
		{.99, []uint64{0, 50, 100, 100}, 3.96},
		{.99, []uint64{0, 0, 0, 10}, 4}, // beyond what is told apart
	} {
		if got := quantile(tt.share, bounds, tt.up); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v of %v: %v, want %v", tt.share, tt.up, got, tt.want)
		}
	}
}

// BenchmarkBoard is what one answer costs the board, off the road of the checks.
func BenchmarkBoard(b *testing.B) {
	board := boardOf(b, limitsOfAllKinds)
	events := make([]*gate.Event, 4096)
	for i := range events {
		events[i] = denied("limit:by-number", digits(uint64(99890_0000000+i*9973)), "203.0.113.7")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		board.Checked(events[i%len(events)])
	}
}
