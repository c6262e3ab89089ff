package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The fixture meets the bars of its attacks, in every clone.
func TestFixture_meetsTheBars(t *testing.T) {
	r, err := judgeFixture("../../" + fixture)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Attacks) != 3 || r.Benign.N < 10_000 {
		t.Fatalf("%d attacks, %d honest sends: this proves nothing", len(r.Attacks), r.Benign.N)
	}
	// Rates are not in the log: say them here, so that each attack meets the bar of its kind.
	for label, rate := range map[string]float64{"c_tiny": 60, "b_tiny": 6, "f_tiny": .5} {
		r.Attacks[label].rate = rate
	}
	var out bytes.Buffer
	if !printBars(&out, bars([]*result{r})) {
		t.Errorf("a bar is missed:\n%s", &out)
	}
	for _, kind := range []string{"loud ranges", "low and slow", "victim flood", "macro recall", "hard false positives"} {
		if !strings.Contains(out.String(), kind) {
			t.Errorf("no bar about %s:\n%s", kind, &out)
		}
	}
	if share := float64(r.Benign.Limit) / float64(r.Benign.N); share > .06 {
		t.Errorf("limits ask %.1f %% of honest sends to wait, want at most 6", 100*share)
	}
}

func TestBars_miss(t *testing.T) {
	good := func() *result {
		return &result{Name: "x", Attacks: map[string]*attack{"a": {Label: "a", Type: "ait_range", N: 1000, Recall: .999, rate: 100, USDTotal: 10}},
			Benign: benign{N: 100_000, BySub: map[string]sub{"campaign": {N: 10}}}, Gray: map[string]*gray{"retry_storm": {N: 10, Throttled: .9}}}
	}
	if !printBars(io.Discard, bars([]*result{good()})) {
		t.Error("all is well and a bar is missed")
	}
	for name, spoil := range map[string]func(*result){
		"recall":          func(r *result) { r.Attacks["a"].Recall = .98 },
		"money":           func(r *result) { r.Attacks["a"].USDLost = 1 },
		"hard":            func(r *result) { r.Benign.Hard = 20 },
		"challenge":       func(r *result) { r.Benign.Challenge = 300 },
		"campaign":        func(r *result) { r.Benign.BySub["campaign"] = sub{N: 10, Hard: 1} },
		"storm":           func(r *result) { r.Gray["retry_storm"].Throttled = .8 },
		"named an attack": func(r *result) { r.Gray["retry_storm"].NamedAsAttack = map[string]int{"ait_range": 1} },
	} {
		r := good()
		if spoil(r); printBars(io.Discard, bars([]*result{r})) {
			t.Errorf("%s is bad and no bar is missed", name)
		}
	}
}

func TestReport_isWellFormed(t *testing.T) {
	r := &report{Results: []*result{{Name: "x", Attacks: map[string]*attack{"a": {Label: "a", Type: "low_slow", N: 10, Recall: .9, Before: 3}}, Benign: benign{N: 10}}}, Sessions: 1}
	r.Bars = bars(r.Results)
	lines := xml.NewDecoder(bytes.NewReader(r.plot()))
	for {
		if _, err := lines.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if body, err := json.Marshal(r); err != nil || !json.Valid(body) {
		t.Error(err)
	}
	if !bytes.Contains(r.markdown(), []byte("| a | low_slow |")) {
		t.Errorf("%s", r.markdown())
	}
}
