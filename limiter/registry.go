package limiter

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Slots come in three classes. A slot is a tag word and words of state, so a narrow slot keeps 7 permits in one cache line, a
// double one 15 in two neighbouring lines.
const (
	narrow = iota
	double
	wide
	classes
)

var (
	classWords = [classes]int64{8, 16, 64}
	// classReach is how many slots from its home a key may lie. Longer finds room at a higher load, shorter makes a miss
	// cheaper where all slots are in use (a miss ends at the first that never was). At 80% load 64 leave 1.4% of new keys without
	// room, 256 none in a million.
	classReach = [classes]int64{256, 256, 128}
)

// form is how the words of a rule are used.
type form uint8

const (
	permits form = iota // one word a unit: at most MaxExact units
	buckets             // a slot of its own, see bucket.go
	delay               // one word
	marker              // one word
)

func formOf(l Limit) form {
	switch {
	case l.Kind == Delay:
		return delay
	case l.Kind == Marker:
		return marker
	case l.N > MaxExact:
		return buckets
	}
	return permits
}

// bank is a kind of slot: which words of it belong to which rule. Words are given out once and never taken back, so that a
// change of policy cannot make one rule read another's permits; a bank grows until its class is full.
type bank struct {
	Class  uint8
	Group  string
	Window int64 `json:",omitempty"` // in microseconds, of a bank of buckets; else 0
	Used   int64 // words given out, without the tag
	// Forget is how much longer than its held-until a word still means something, by word: only Kind Delay.
	Forget map[int64]int64 `json:",omitempty"`
}

// record is where the words of a rule lie.
type record struct {
	Name, Group string
	Form        form
	Bank        uint16
	Off         int64
	Cap         int64 // words
	Window      int64 // microseconds, of the newest definition
	Stripes     int64 `json:",omitempty"` // of buckets that are divided, else 0
	N           int64 `json:",omitempty"` // of buckets that are divided, else 0
	// Few is where the first permits of buckets lie, if they have some; see few.go.
	Few *record `json:",omitempty"`
	// FewN is the N of the newest definition of a rule with few permits. Since it was lowered the buckets may hold more than they
	// should, so that the permits stay closed until FewFrom.
	FewN    int64 `json:",omitempty"`
	FewFrom int64 `json:",omitempty"`
	// Drain is the place the rule had before a change that its words could not follow. What it holds counts until DrainUntil.
	Drain      *record `json:",omitempty"`
	DrainUntil int64   `json:",omitempty"`
}

// registry is the part of a table that says where rules lie. It is kept in the file, so that a rule finds its counters again.
type registry struct {
	Banks []*bank // Banks[0] is unused: bank 0 means an empty slot
	Rules []*record
}

const maxBanks = reservedBank - 1

func (g *registry) clone() *registry {
	c := &registry{}
	for _, b := range g.Banks {
		d := *b
		d.Forget = make(map[int64]int64, len(b.Forget))
		for k, v := range b.Forget {
			d.Forget[k] = v
		}
		c.Banks = append(c.Banks, &d)
	}
	for _, r := range g.Rules {
		d := *r
		c.Rules = append(c.Rules, &d)
	}
	return c
}

// place finds or makes the words of a limit.
func (g *registry) place(l Limit, slots [classes]int64, newest int64) (*record, error) {
	f := formOf(l)
	window := micros(l.Window)
	i := slices.IndexFunc(g.Rules, func(r *record) bool {
		return r.Name == l.Name && r.Group == l.Group && r.windowed() == (l.Kind == Window) && (r.windowed() || r.Form == f)
	})
	r := &record{Name: l.Name, Group: l.Group, Form: f, Cap: 1, Window: window}
	switch {
	case f == permits:
		r.Cap = l.N
	case f == buckets && l.Stripes > 1:
		r.Stripes, r.N = int64(l.Stripes), l.N
	}
	var known *record
	if i >= 0 {
		known = g.Rules[i]
		if known.follows(r) {
			known.Window = max(known.Window, window)
			if known.Few != nil {
				if l.N < known.FewN {
					known.FewFrom = newest + window + 2*cutOf(window).width
				}
				known.FewN = l.N
			}
			return known, g.remember(known, l)
		}
	}
	if !g.reuse(r, newest) {
		if err := g.giveWords(r, slots); err != nil {
			return nil, err
		}
	}
	switch {
	case !hasFew(l):
	case known != nil && known.Few != nil:
		r.Few, known.Few = known.Few, nil // permits follow any window
	default:
		r.Few = &record{Name: l.Name, Group: l.Group, Form: permits, Cap: fewWords}
		if err := g.giveWords(r.Few, slots); err != nil {
			return nil, err
		}
	}
	if r.Few != nil {
		r.FewN = l.N
	}
	if known != nil {
		if known.Drain != nil && known.Drain.Form != buckets && known.DrainUntil < newest {
			known.Drain = nil // banks of buckets wait there to be used again
		}
		r.Drain, r.DrainUntil = known, max(newest+known.Window, known.DrainUntil)
		g.Rules[i] = r
	} else {
		g.Rules = append(g.Rules, r)
	}
	return r, g.remember(r, l)
}

// reuse gives buckets a bank of the same window that some rule had before a change, once all that it holds is out of every window: a
// limit that is changed each day must not fill the header. A slot of it that comes back is one whose head is far behind.
func (g *registry) reuse(r *record, newest int64) bool {
	if r.Form != buckets {
		return false
	}
	for _, x := range g.Rules {
		for ; x.Drain != nil; x = x.Drain {
			if d := x.Drain; x.DrainUntil+reuseAfter < newest && d.Form == buckets && d.Window == r.Window {
				r.Bank, r.Off = d.Bank, d.Off
				x.Drain = d.Drain
				return true
			}
		}
	}
	return false
}

// reuseAfter is how far behind the newest reading, in microseconds, others may still come.
const reuseAfter = 60e6

func (r *record) windowed() bool { return r.Form == permits || r.Form == buckets }

// follows says that the words of r can serve the rule as next describes it. The buckets of another window are of another
// width, and the stripes of another N are of another size.
func (r *record) follows(next *record) bool {
	switch {
	case r.Form != next.Form:
		return false
	case r.Form == permits:
		return next.Cap <= r.Cap
	case r.Form == buckets:
		return r.Window == next.Window && r.Stripes == next.Stripes && r.N == next.N
	}
	return true
}

// remember notes how long a delay word lives past its held-until.
func (g *registry) remember(r *record, l Limit) error {
	if r.Form != delay {
		return nil
	}
	b := g.Banks[r.Bank]
	if b.Forget == nil {
		b.Forget = map[int64]int64{}
	}
	b.Forget[r.Off] = max(b.Forget[r.Off], micros(l.Backoff.ForgetAfter))
	return nil
}

func (g *registry) giveWords(r *record, slots [classes]int64) error {
	if r.Form == buckets {
		return g.newBank(r, &bank{Class: wide, Group: r.Group, Window: r.Window, Used: classWords[wide] - 1}, slots)
	}
	for id, b := range g.Banks {
		if id > 0 && b.Group == r.Group && b.Window == 0 && b.Used+r.Cap < classWords[b.Class] {
			r.Bank, r.Off = uint16(id), 1+b.Used
			b.Used += r.Cap
			return nil
		}
	}
	for class := range uint8(classes) {
		if r.Cap < classWords[class] && slots[class] > 0 {
			return g.newBank(r, &bank{Class: class, Group: r.Group, Used: r.Cap}, slots)
		}
	}
	return fmt.Errorf("limiter: rule %q needs %d words and the table has no slots that large: open it with Options.Shares that have them", r.Name, r.Cap)
}

func (g *registry) newBank(r *record, b *bank, slots [classes]int64) error {
	if slots[b.Class] == 0 {
		return fmt.Errorf("limiter: rule %q needs wide slots and the table has none: open it with Options.Shares that have them", r.Name)
	}
	if len(g.Banks) == 0 {
		g.Banks = append(g.Banks, &bank{})
	}
	if len(g.Banks) > maxBanks {
		return fmt.Errorf("limiter: rule %q: the table has had %d groups of rules, no more fit: %s", r.Name, maxBanks, wayOn)
	}
	g.Banks = append(g.Banks, b)
	r.Bank, r.Off = uint16(len(g.Banks)-1), 1
	return nil
}

// pack places all limits. Those of one group that are new are given a bank large enough for all of them.
func (g *registry) pack(limits []Limit, slots [classes]int64, newest int64) ([]*record, error) {
	g.roomForGroups(limits, slots)
	recs := make([]*record, len(limits))
	for i, l := range limits {
		r, err := g.place(l, slots, newest)
		if err != nil {
			return nil, err
		}
		recs[i] = r
	}
	return recs, nil
}

// roomForGroups opens an empty bank for each group that is new and whose small rules fit one slot together.
func (g *registry) roomForGroups(limits []Limit, slots [classes]int64) {
	need := map[string]int64{}
	var order []string
	for _, l := range limits {
		f := formOf(l)
		if f == buckets && !hasFew(l) {
			continue
		}
		if _, ok := need[l.Group]; !ok {
			order = append(order, l.Group)
		}
		words := int64(1)
		switch f {
		case permits:
			words = l.N
		case buckets:
			words = fewWords
		}
		if need[l.Group]+words < classWords[double] || need[l.Group] == 0 {
			need[l.Group] += words
		}
	}
	for _, group := range order {
		if slices.ContainsFunc(g.Banks, func(b *bank) bool { return b.Group == group && b.Window == 0 }) {
			continue
		}
		for class := range uint8(classes) {
			if need[group] < classWords[class] && slots[class] > 0 {
				if len(g.Banks) == 0 {
					g.Banks = append(g.Banks, &bank{})
				}
				g.Banks = append(g.Banks, &bank{Class: class, Group: group})
				break
			}
		}
	}
}

func (l Limit) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("limiter: limit %q: %s", l.Name, fmt.Sprintf(format, args...))
	}
	if len(l.Name) == 0 || len(l.Name) > 200 {
		return bad("a name has 1 to 200 bytes")
	}
	if len(l.Group) == 0 || len(l.Group) > 200 {
		return bad("group %q: a group has 1 to 200 bytes", l.Group)
	}
	span := func(name string, d, lo, hi time.Duration) error {
		if d < lo || d > hi {
			return bad("%s %v: must be %v to %v", name, d, lo, hi)
		}
		return nil
	}
	switch l.Kind {
	case Window:
		if l.N < 1 || l.N > MaxN {
			return bad("N %d: must be 1 to %d", l.N, int64(MaxN))
		}
		if l.Stripes < 0 || l.Stripes > maxStripes {
			return bad("stripes %d: must be 0 to %d", l.Stripes, maxStripes)
		}
		return span("window", l.Window, MinWindow, MaxWindow)
	case Delay:
		b := l.Backoff
		if b.Free < 0 || b.Free > 100 {
			return bad("free %d: must be 0 to 100", b.Free)
		}
		if !(b.Factor >= 1 && b.Factor <= 100) {
			return bad("factor %v: must be 1 to 100", b.Factor)
		}
		if !(b.Jitter >= 0 && b.Jitter <= 0.5) {
			return bad("jitter %v: must be 0 to 0.5", b.Jitter)
		}
		if b.Stop < 0 || b.Stop > maxCounted {
			return bad("stop %d: must be 0 to %d", b.Stop, maxCounted)
		}
		for _, err := range []error{
			span("max", b.Max, MinWindow, MaxWindow),
			span("base", b.Base, MinWindow, b.Max),
			span("forget after", b.ForgetAfter, time.Second, MaxWindow),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	case Marker:
		return nil
	}
	return bad("kind %d is unknown", l.Kind)
}

// delayTable is the wait after charge n, in microseconds, for every n that a word can count.
func (b Backoff) delayTable() []int64 {
	waits := make([]int64, maxCounted+1)
	top := float64(micros(b.Max))
	for n := b.Free + 1; n <= maxCounted; n++ {
		waits[n] = int64(math.Min(top, float64(micros(b.Base))*math.Pow(b.Factor, float64(n-b.Free-1))))
	}
	for n := b.Stop; n > 0 && n <= maxCounted; n++ {
		waits[n] = micros(MaxWindow)
	}
	return waits
}

// fits says that a registry that was read gives no rule a word outside of its slot.
func (g *registry) fits(slots [classes]int64) bool {
	span := func(us int64) bool { return us >= 0 && us <= micros(MaxWindow) }
	for id, b := range g.Banks {
		switch {
		case b == nil || id > maxBanks:
			return false
		case id == 0:
			continue
		case b.Class >= classes || slots[b.Class] == 0 || b.Used < 0 || b.Used >= classWords[b.Class]:
			return false
		case !span(b.Window) || b.Window > 0 && b.Class != wide:
			return false
		}
		for off, forget := range b.Forget {
			if off < 1 || off > b.Used || !span(forget) {
				return false
			}
		}
	}
	for _, r := range g.Rules {
		for ; ; r = r.Drain {
			if r == nil || r.Bank == 0 || int(r.Bank) >= len(g.Banks) {
				return false
			}
			b := g.Banks[r.Bank]
			switch {
			case r.Form > marker || !span(r.Window) || r.Stripes < 0 || r.Stripes > maxStripes || r.N < 0 || r.N > MaxN:
				return false
			case r.Off < 1 || r.Cap < 1 || r.Cap > MaxExact || r.Off > b.Used || r.Off+r.Cap-1 > b.Used:
				return false
			case (r.Form == buckets) != (b.Window > 0) || r.Form == buckets && r.Window != b.Window:
				return false
			}
			if f := r.Few; f != nil && (r.Form != buckets || f.Form != permits || f.Cap != fewWords || f.Bank == 0 || int(f.Bank) >= len(g.Banks) ||
				g.Banks[f.Bank].Window > 0 || f.Off < 1 || f.Off+f.Cap-1 > g.Banks[f.Bank].Used || f.Few != nil || f.Drain != nil) {
				return false
			}
			if r.Drain == nil {
				break
			}
		}
	}
	return true
}

func (g *registry) marshal() ([]byte, error) { return json.Marshal(g) }

func (g *registry) unmarshal(b []byte) error { return json.Unmarshal(b, g) }
