package traffic_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/internal/traffic"
)

func events(t *testing.T, o traffic.Options) []traffic.Event {
	t.Helper()
	s, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var all []traffic.Event
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		all = append(all, e)
	}
	return all
}

func lines(t *testing.T, o traffic.Options) []byte {
	t.Helper()
	var b []byte
	for _, e := range events(t, o) {
		b = e.AppendJSON(b)
	}
	return b
}

func every(t *testing.T) []traffic.Attack {
	t.Helper()
	var all []traffic.Attack
	for i, k := range traffic.Kinds() {
		a, err := traffic.ParseAttack(fmt.Sprintf("%s:at=%dm:for=30m", k[0], 10+30*i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func TestStream_sameSeedSameBytes(t *testing.T) {
	o := traffic.Options{Seed: 1, Length: 8 * time.Hour, Sessions: 3000, Attacks: every(t)}
	first := lines(t, o)
	if !bytes.Equal(first, lines(t, o)) {
		t.Error("the same options give other bytes")
	}
	o.Seed = 2
	if bytes.Equal(first, lines(t, o)) {
		t.Error("another seed gives the same bytes")
	}
}

func TestStream_anAttackChangesNobodyElse(t *testing.T) {
	honest := func(attacks []traffic.Attack) string {
		var b []byte
		for _, e := range events(t, traffic.Options{Seed: 1, Length: 8 * time.Hour, Sessions: 3000, Attacks: attacks}) {
			if e.Label == traffic.Benign && e.Sub != "flash_crowd" {
				e.ID = ""
				b = e.AppendJSON(b)
			}
		}
		return string(b)
	}
	if with, without := honest(every(t)), honest(nil); with != without || without == "" {
		t.Error("honest people do something else when there is an attack")
	}
}

func TestStream_isInOrderAndPlausible(t *testing.T) {
	sent := map[string]traffic.Event{}
	verified, sessions, mobile := 0, map[string]bool{}, 0
	var last time.Time
	labels := map[string]int{}
	for _, e := range events(t, traffic.Options{Seed: 3, Sessions: 4000, Attacks: every(t)}) {
		if e.At.Before(last) {
			t.Fatalf("%s comes after %s", e.At, last)
		}
		last = e.At
		var parsed map[string]string
		if err := json.Unmarshal(e.AppendJSON(nil), &parsed); err != nil {
			t.Fatal(err)
		}
		if e.Outcome != "" {
			of, ok := sent[e.ID]
			if !ok {
				t.Fatalf("outcome %s of a send that was not there before", e.ID)
			}
			if e.Outcome == "verified" && of.Sub == "base" {
				verified++
			}
			continue
		}
		sent[e.ID] = e
		labels[e.Sub]++
		n, err := phone.Parse(e.Number, "")
		if err != nil {
			t.Fatalf("%s of %s is no number: %v", e.Number, e.Sub, err)
		}
		if i := n.Info(); i.Valid && (i.Type == phone.Mobile || i.Type == phone.FixedOrMobile) {
			mobile++
		}
		if e.Sub == "base" {
			sessions[e.Number] = true
		}
		if traffic.Price(e.Number) <= 0 {
			t.Errorf("a number of %s is free", n.Country())
		}
	}
	if float64(mobile) < .99*float64(len(sent)) {
		t.Errorf("%d of %d numbers are mobile, want nearly all", mobile, len(sent))
	}
	if share := float64(verified) / float64(labels["base"]); share < .6 || share > .9 {
		t.Errorf("%.2f of honest messages verify, want .6 to .9", share)
	}
	for _, k := range traffic.Kinds() {
		if labels[k[0]] < 10 {
			t.Errorf("%d sends of %s, want some", labels[k[0]], k[0])
		}
	}
	if labels["office"] == 0 || labels["transactional"] == 0 || len(sessions) < 1000 {
		t.Errorf("an odd day: %v, %d numbers", labels, len(sessions))
	}
}

func TestParseAttack(t *testing.T) {
	a, err := traffic.ParseAttack("ait_range:at=9h30m:for=45m:rate=12.5:country=KG")
	if want := (traffic.Attack{Kind: "ait_range", At: 9*time.Hour + 30*time.Minute, For: 45 * time.Minute, PerMinute: 12.5, Country: "KG"}); err != nil || a != want {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, text := range []string{"", "pumping", "ait_range:at=9", "ait_range:rate=fast", "ait_range:rate=1x", "ait_range:country=Atlantis", "ait_range:when=9h"} {
		if _, err := traffic.ParseAttack(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, o := range []traffic.Options{{Length: time.Second}, {Sessions: -1}, {Home: []string{"XX"}}, {Attacks: []traffic.Attack{{Kind: "x"}}}, {Attacks: []traffic.Attack{{Kind: "ait_range", At: -1}}}} {
		if _, err := traffic.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
