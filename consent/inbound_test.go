package consent_test

import (
	"testing"
	"time"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/keyword"
)

// Whoever recorded a message of a platform and posts it again changes nothing, whatever the message did the first time, and after a
// restart.
func TestHear_again(t *testing.T) {
	store := new(consent.Memory)
	rules := consent.Rules{Voice: voice(t, keyword.Options{})}
	n := number(t, "+14155550123")
	hear := func(at time.Duration, id, text string) consent.Heard {
		t.Helper()
		h, err := ledger(t, store, rules).Hear(ctx, consent.Inbound{At: noon.Add(at), Number: n, Scope: shop, Text: text, Reference: id})
		must(t, err)
		return h
	}
	for i, step := range []struct {
		id, text            string
		changed, again, out bool
	}{
		{"a", "START", false, false, false}, // did nothing, and is remembered all the same
		{"b", "STOP", true, false, true},
		{"a", "START", false, true, true},
		{"b", "STOP", false, true, true},
		{"c", "START", true, false, false},
		{"b", "STOP", false, true, false},
		{"", "STOP", true, false, true}, // nobody knows which message this is
		{"d", "hello", false, false, true},
		{"d", "hello", false, false, true},
	} {
		h := hear(time.Duration(i)*time.Minute, step.id, step.text)
		if h.Changed != step.changed || h.Again != step.again || h.Out != step.out || h.Again && h.Reply != "" {
			t.Errorf("step %d, %s %s: %+v", i, step.id, step.text, h)
		}
	}
	l := ledger(t, store, rules)
	got, err := l.Forget(ctx, noon, n)
	must(t, err)
	if got.Removed["message"] != 3 {
		t.Errorf("forgotten: %v", got.Removed)
	}
}

func TestSweep_messages(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{Retention: consent.Retention{Messages: 90 * 24 * time.Hour}})
	_, err := l.Hear(ctx, consent.Inbound{At: noon, Number: number(t, "+14155550123"), Scope: shop, Text: "STOP", Reference: "b"})
	must(t, err)
	for days, want := range []int{0, 0, 1} {
		swept, err := l.Sweep(ctx, noon.AddDate(0, 0, 89+days))
		must(t, err)
		if swept["message"] != want {
			t.Errorf("after %d days: %v", 89+days, swept)
		}
	}
}
