package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// probes ask every system what it promises, from outside: whatever is believed of it, this is what it answers.
func probes() []scenario {
	each := func(name string, probe func(*system) (string, error)) scenario {
		return scenario{name: "probe/" + name, run: func(sc scenario, who []*system, s settings, r *result) error {
			if r.Words == nil {
				r.Words = map[string]string{}
			}
			for _, sys := range who {
				if sys.noRule || sys.name == ours { // its limiter is that of the one rule
					continue
				}
				words, err := probe(sys)
				if err != nil {
					return fmt.Errorf("%s: %w", sys.name, err)
				}
				r.Words[sys.name] = words
			}
			return nil
		}}
	}
	return []scenario{
		each("window", probeWindow),
		each("at once", probeAtOnce),
		each("denied", probeDenied),
		each("restart", probeRestart),
		each("flood", probeFlood),
	}
}

const probed = 10 // the limit of every probe

// with runs a probe on a system that was started for it.
func with(sys *system, r rule, f func(h *host) (string, error)) (string, error) {
	h, err := open(sys, r, false)
	if err != nil {
		return "", err
	}
	words, err := f(h)
	return words, errors.Join(err, h.close())
}

// admission is when an admitted check was sent and answered: it was admitted in between.
type admission struct{ sent, answered time.Time }

// probeWindow looks for the most that is admitted in any second by a rule of ten a second: bursts beside the borders of windows that
// begin with the first check or with the clock's second, and a steady knocking.
func probeWindow(sys *system) (string, error) {
	rules := []rule{{limit: probed, window: time.Second}}
	if sys.name == "gubernator" {
		rules = append(rules, rule{limit: probed, window: time.Second, leaky: true})
	}
	var most []int
	for _, r := range rules {
		_, err := with(sys, r, func(h *host) (string, error) {
			best := 0
			for i := range 3 {
				for name, pattern := range map[string]func(knock func(time.Duration, int) error) error{
					"own border": func(knock func(time.Duration, int) error) error {
						return errors.Join(knock(0, 1), knock(920*time.Millisecond, probed-1), knock(940*time.Millisecond, 200))
					},
					"clock's border": func(knock func(time.Duration, int) error) error {
						return errors.Join(knock(0, probed), knock(20*time.Millisecond, 200))
					},
					"steady": func(knock func(time.Duration, int) error) error { return knock(0, 1800) },
				} {
					if name == "clock's border" {
						time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1920 * time.Millisecond)))
					}
					got, err := admissions(h, fmt.Sprint(name, i), pattern)
					if err != nil {
						return "", err
					}
					best = max(best, mostWithin(got, r.window))
				}
			}
			most = append(most, best)
			return "", nil
		})
		if err != nil {
			return "", err
		}
	}
	if len(most) == 2 {
		return fmt.Sprintf("%d (token), %d (leaky)", most[0], most[1]), nil
	}
	return strconv.Itoa(most[0]), nil
}

// admissions runs a pattern on a key of its own. knock asks so many times from a time on, a millisecond apart where it is many.
func admissions(h *host, key string, pattern func(knock func(after time.Duration, times int) error) error) ([]admission, error) {
	var got []admission
	c := h.caller(0)
	defer c.close()
	begin := time.Now()
	err := pattern(func(after time.Duration, times int) error {
		time.Sleep(time.Until(begin.Add(after)))
		for range times {
			sent := time.Now()
			ok, err := c.ask(ask{number: probeNumber(key)})
			if err != nil {
				return err
			}
			if ok {
				got = append(got, admission{sent, time.Now()})
			}
			if times > probed {
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	})
	return got, err
}

// mostWithin is the largest number of admissions that were certainly less than a window apart.
func mostWithin(got []admission, window time.Duration) (most int) {
	for i, first := range got {
		n := 0
		for _, a := range got[i:] {
			if a.answered.Sub(first.sent) < window {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// probeNumber makes a valid number of a word.
func probeNumber(key string) string {
	n := uint64(14695981039346656037)
	for _, b := range []byte(key) {
		n = (n ^ uint64(b)) * 1099511628211
	}
	return "+659" + strconv.FormatUint(10_000_000+n%10_000_000, 10)[1:]
}

func tell(n int, of int) string { return fmt.Sprintf("%d of %d", n, of) }

// probeAtOnce has 64 callers ask for one number at the same moment.
func probeAtOnce(sys *system) (string, error) {
	return with(sys, tenPerHalfHour, func(h *host) (string, error) {
		most := 0
		for round := range 20 {
			var all sync.WaitGroup
			oks, errs := make([]bool, 64), make([]error, 64)
			for i := range oks {
				all.Go(func() {
					c := h.caller(i)
					defer c.close()
					oks[i], errs[i] = c.ask(ask{number: probeNumber(fmt.Sprint("at once", round))})
				})
			}
			all.Wait()
			if err := errors.Join(errs...); err != nil {
				return "", err
			}
			n := 0
			for _, ok := range oks {
				if ok {
					n++
				}
			}
			most = max(most, n)
		}
		return strconv.Itoa(most), nil
	})
}

// probeDenied has eight checks denied by a rule of one by client, and looks whether the rule of ten by number was charged for them.
func probeDenied(sys *system) (string, error) {
	if sys.redis {
		return "one rule a check only", nil
	}
	return with(sys, rule{limit: probed, clientLimit: 1, window: time.Hour}, func(h *host) (string, error) {
		c := h.caller(0)
		defer c.close()
		a := ask{number: probeNumber("denied"), client: "198.51.100.1"}
		for i := range 9 {
			if ok, err := c.ask(a); err != nil || ok != (i == 0) {
				return "", fmt.Errorf("check %d: %v, %v", i+1, ok, err)
			}
		}
		left := 0
		for i := range 2 * probed {
			ok, err := c.ask(ask{number: a.number, client: fmt.Sprintf("198.51.100.%d", i+2)})
			if err != nil {
				return "", err
			}
			if ok {
				left++
			}
		}
		return tell(probed-1-left, 8) + " charged", nil
	})
}

// spend uses up a number and says how much of it is admitted again. Errors that come with it are part of the answer: a pool of dead
// connections is what callers meet.
func spend(h *host, key string, between func() error) (words string, err error) {
	c := h.caller(0)
	defer func() { c.close() }()
	a := ask{number: probeNumber(key)}
	for i := range probed + 1 {
		if ok, err := c.ask(a); err != nil || ok != (i < probed) {
			return "", fmt.Errorf("check %d of a new number: %v, %v", i+1, ok, err)
		}
	}
	c.close()
	if err := between(); err != nil {
		return "", err
	}
	c = h.caller(0)
	again, failed := 0, 0
	for range 3 * probed {
		ok, err := c.ask(a)
		if ok {
			again++
		}
		if err != nil {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Sprintf("%d (and %d errors)", again, failed), nil
	}
	return strconv.Itoa(again), nil
}

func probeRestart(sys *system) (string, error) {
	return with(sys, rule{limit: probed, window: time.Hour}, func(h *host) (string, error) {
		term, err := spend(h, "term", func() error { return h.restart(syscall.SIGTERM) })
		if err != nil {
			return "", err
		}
		kill, err := spend(h, "kill", func() error { return h.restart(os.Kill) })
		if err != nil {
			return "", err
		}
		words := term + " / " + kill
		if h.redis != nil && h.redis != h.main {
			lost, err := spend(h, "redis", func() error { return h.restartRedis() })
			if err != nil {
				return "", err
			}
			words += "; kill -9 of its Redis without persistence: " + lost
		}
		return words, nil
	})
}

// probeFlood spends a number, asks for 300,000 others, and looks whether the number is limited still. Each system has room for some
// ten or twenty thousand.
func probeFlood(sys *system) (string, error) {
	return with(sys, rule{limit: probed, window: time.Hour, keys: 10_000}, func(h *host) (string, error) {
		failed := 0
		again, err := spend(h, "flooded", func() error {
			var mu sync.Mutex
			var all sync.WaitGroup
			for i := range 64 {
				all.Go(func() {
					c := h.caller(i)
					defer c.close()
					wrong := 0
					for n := i; n < 300_000; n += 64 {
						number := "+1415" + strconv.Itoa(10_000_000 + n*6_180_339%10_000_000)[1:]
						if _, err := c.ask(ask{number: number}); err != nil {
							wrong++
						}
					}
					mu.Lock()
					defer mu.Unlock()
					failed += wrong
				})
			}
			all.Wait()
			return nil
		})
		if err != nil {
			return "", err
		}
		words := again + " admitted again"
		if failed > 0 {
			words += fmt.Sprintf(", %d strangers met an error", failed)
		}
		return words, nil
	})
}
