package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sort"
	"testing"
)

const (
	seconds = int64(1e9)
	minutes = 60 * seconds
	hours   = 60 * minutes
)

// world plays traffic against an engine: people who verify, and attackers who do not. It follows the engine's advice: what is
// denied never happens, people solve challenges and bots do not. It limits nothing else.
type world struct {
	t       *testing.T
	e       *Engine
	rnd     *rand.Rand
	now     int64
	id      uint64
	results []Result
	pending []outcome // sorted by time
	regular []uint64
	stopped map[string]int // by who
	denied  map[string]int
	sent    map[string]int
	kinds   map[string]map[Kind]int
}

type outcome struct {
	at   int64
	id   uint64
	what OutcomeKind
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, e: e, rnd: rand.New(rand.NewPCG(o.Seed, 5)), now: 1_767_225_600e9}
	w.count()
	t.Cleanup(func() { _ = w.e.Close() })
	return w
}

// count starts counting anew.
func (w *world) count() {
	w.stopped, w.denied, w.sent, w.kinds = map[string]int{}, map[string]int{}, map[string]int{}, map[string]map[Kind]int{}
}

// share is the portion of somebody's sends that was stopped.
func (w *world) share(who string) float64 {
	return float64(w.stopped[who]) / float64(max(1, w.sent[who]))
}

// until lets time pass and reports the outcomes that are due.
func (w *world) until(at int64) {
	for len(w.pending) > 0 && w.pending[0].at <= at {
		o := w.pending[0]
		w.pending = w.pending[1:]
		w.e.Outcome(o.at, o.id, o.what)
	}
	w.now = max(w.now, at)
}

func (w *world) later(o outcome) {
	i := sort.Search(len(w.pending), func(i int) bool { return w.pending[i].at > o.at })
	w.pending = append(w.pending, outcome{})
	copy(w.pending[i+1:], w.pending[i:])
	w.pending[i] = o
}

// send asks for one send and plays what comes of it. It says whether the message went out.
func (w *world) send(who string, s Send, at int64, honest bool, what ...outcome) bool {
	w.until(at)
	w.id++
	s.ID, s.At = w.id, at
	r := w.e.Observe(&s)
	w.results = append(w.results, r)
	w.sent[who]++
	if r.Advice.Stops() {
		w.stopped[who]++
		if w.kinds[who] == nil {
			w.kinds[who] = map[Kind]int{}
		}
		w.kinds[who][r.Kind]++
		if r.Advice == Deny {
			w.denied[who]++
		}
		if r.Advice != Challenge || !honest {
			return false
		}
	}
	for _, o := range what {
		w.later(outcome{at: at + o.at, id: s.ID, what: o.what})
	}
	return true
}

// person sends one honest session: three in four verify after about twenty seconds, some press "send again".
func (w *world) person(who string, s Send, at int64) {
	for range 3 {
		if w.rnd.Float64() < .75 {
			after := int64(math.Exp(3+.7*w.rnd.NormFloat64())*1e9) + seconds
			w.send(who, s, at, true, outcome{at: after, what: Verified})
			return
		}
		w.send(who, s, at, true)
		if w.rnd.Float64() > .42 {
			return
		}
		at += 30*seconds + w.rnd.Int64N(60*seconds)
	}
}

// home is an address of a country's consumer providers, gateway one that many share.
func (w *world) home(country string) netip.Addr {
	return netip.AddrFrom4([4]byte{80, country[0] + byte(w.rnd.IntN(4)), byte(w.rnd.IntN(256)), byte(w.rnd.IntN(256))})
}

func (w *world) gateway(country string) netip.Addr {
	return netip.AddrFrom4([4]byte{90, country[1], byte(w.rnd.IntN(3)), byte(w.rnd.IntN(6))})
}

// number is one of a country's subscribers: ranges are used unevenly, as they are.
func (w *world) number(code uint64) uint64 {
	block := uint64(math.Abs(w.rnd.NormFloat64()) * 40)
	return code*100_000_000 + 80_000_000 + block*37%900*10_000 + uint64(w.rnd.IntN(10_000))
}

// people plays n honest sessions of a country over a time.
func (w *world) people(country string, code uint64, n int, over int64) {
	from := w.now
	at := make([]int64, n)
	for i := range at {
		at[i] = from + w.rnd.Int64N(over)
	}
	sort.Slice(at, func(i, j int) bool { return at[i] < at[j] })
	for _, t := range at {
		number := w.number(code)
		if len(w.regular) > 50 && w.rnd.IntN(2) == 0 {
			number = w.regular[w.rnd.IntN(len(w.regular))]
		} else {
			w.regular = append(w.regular, number)
		}
		client := w.gateway(country)
		if w.rnd.IntN(2) == 0 {
			client = w.home(country)
		}
		w.person("people", Send{Number: number, CallingCode: uint16(code), Country: CountryOf(country), Client: client, Account: 1}, t)
	}
	w.until(from + over)
}

// bots sends n messages that nobody waits for.
func (w *world) bots(country string, n int, over int64, number func(i int) uint64, client func(i int) netip.Addr, what ...outcome) {
	from := w.now
	for i := range n {
		s := Send{Number: number(i), Country: CountryOf(country), Client: client(i), Account: 1}
		w.send("bots", s, from+over/int64(n)*int64(i), false, what...)
	}
}

// pump plays adjacent numbers below a prefix, from anywhere.
func (w *world) pump(country string, prefix uint64, perMinute, n int, start int) {
	w.bots(country, n, int64(n)*minutes/int64(perMinute), func(i int) uint64 { return prefix*10_000 + uint64(start+i)%10_000 },
		func(int) netip.Addr { return w.home("ZZ") })
}

func (w *world) String() string {
	return fmt.Sprintf("sent %v stopped %v denied %v kinds %v", w.sent, w.stopped, w.denied, w.kinds)
}
