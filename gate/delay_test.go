package gate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sendgate/sendgate/gate"
)

// delayModel is what the documentation says of delays, for one number.
type delayModel struct {
	free        int
	base, max   time.Duration
	factor      float64
	forgetAfter time.Duration

	count  int       // codes that count
	next   time.Time // when the next may come
	newest time.Time // of the codes that count
}

func (m *delayModel) check(now time.Time) (wait time.Duration) {
	if wait = m.next.Sub(now); wait > 0 {
		return wait
	}
	if now.After(m.next.Add(m.forgetAfter)) {
		m.count = 0
	}
	m.count++
	m.newest, m.next = now, now
	if m.count > m.free {
		m.next = now.Add(time.Duration(math.Min(float64(m.max), float64(m.base)*math.Pow(m.factor, float64(m.count-m.free-1)))).Truncate(time.Microsecond))
	}
	return 0
}

func (m *delayModel) verified(now time.Time) {
	if m.count = 0; m.next.After(now) {
		m.next = now
	}
}

// notSent takes back the newest code; an older one has made the wait longer already and stays.
func (m *delayModel) notSent(at time.Time) {
	if m.count > 0 && at.Equal(m.newest) {
		m.count--
		m.next = at
	}
}

// Checks, successes and messages that were not sent, in random histories: the gate waits as the model does, to the microsecond.
func TestDelay_isTheModel(t *testing.T) {
	steps := 400_000
	if testing.Short() {
		steps = 40_000
	}
	rnd := rand.New(rand.NewPCG(6, uint64(time.Now().UnixNano())))
	denied, refunds := 0, 0
	for done := 0; done < steps; done += 4000 {
		m := delayModel{free: rnd.IntN(4), base: time.Duration(1+rnd.IntN(90)) * time.Second, factor: []float64{1, 1.5, 2, 3}[rnd.IntN(4)]}
		m.max = m.base * time.Duration(1+rnd.IntN(40))
		m.forgetAfter = time.Duration(1+rnd.IntN(3600)) * time.Second
		f := open(t, fmt.Sprintf("delays: {otp: {free: %d, base: %v, factor: %v, max: %v, forget_after: %v, jitter: 0%%}}", m.free, m.base, m.factor, m.max, m.forgetAfter))
		model := []delayModel{m, m, m}
		type sent struct {
			id string
			at time.Time
		}
		last := make([]sent, len(model))
		for range 4000 {
			i := rnd.IntN(len(model))
			switch rnd.IntN(10) {
			case 0:
				f.clock.add(m.forgetAfter)
			case 1, 2, 3:
				if wait := model[i].next.Sub(f.clock.read()); wait > 0 {
					f.clock.add(wait - time.Duration(rnd.IntN(2))*time.Microsecond)
				}
			default:
				f.clock.add(time.Duration(rnd.Int64N(int64(m.base))).Truncate(time.Microsecond))
			}
			now := f.clock.read()
			if now.Equal(model[i].next.Add(m.forgetAfter)) {
				f.clock.add(time.Microsecond) // the one microsecond that may go either way
				now = f.clock.read()
			}
			what := rnd.IntN(12)
			if last[i].id == "" || now.Sub(last[i].at) > time.Hour || now.After(model[i].next.Add(m.forgetAfter)) {
				what = 11
			}
			switch what {
			case 0:
				f.report(t, last[i].id, gate.Verified, gate.News)
				model[i].verified(now)
				last[i].id = ""
			case 1:
				f.report(t, last[i].id, gate.NotSent, gate.News)
				model[i].notSent(last[i].at)
				last[i].id = ""
				refunds++
			default:
				v := f.check(t, ask(fmt.Sprintf("+658123456%d", i), ""))
				wait := model[i].check(now)
				if (v.Kind == gate.Allow) != (wait == 0) || v.RetryAfter != wait {
					t.Fatalf("number %d at %v: %v after %v, want a wait of %v (%+v)", i, now, v.Kind, v.RetryAfter, wait, model[i])
				}
				if wait == 0 {
					last[i] = sent{v.CheckID, now}
				} else {
					denied++
				}
			}
		}
		f.Close()
		f.store.Close()
	}
	if denied < steps/20 || refunds < steps/100 {
		t.Errorf("%d denied and %d refunds in %d steps: too few to show anything", denied, refunds, steps)
	}
}
