package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sendgate/sendgate/internal/report"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// A story of one rule: who would have been stopped, and who of them was a person.
func TestRow_joinsWhatWouldHaveBeenStoppedWithWhatBecameOfIt(t *testing.T) {
	b := report.New()
	r := b.Row("number-30m~5")
	sg := report.Check{At: start, Country: "SG", Account: "acme", Money: 40_000}
	id := report.Check{At: start.Add(time.Hour), Country: "ID", Money: 300_000}
	r.Judged(&sg)
	for _, c := range []report.Check{sg, sg, id} {
		c.Denied = true
		r.Judged(&c)
	}
	freed := id
	freed.Freed = true
	r.Judged(&freed)
	r.Ended(&sg, true)
	r.Ended(&id, false)
	e := b.Entries(time.Time{})[0]
	want := report.Tally{Judged: 5, Denied: 3, Money: 380_000, Verified: 1, VerifiedMoney: 40_000, Failed: 1, Freed: 1, FreedMoney: 300_000}
	if e.Total != want || !e.Since.Equal(start) || len(e.Hours) != 2 {
		t.Errorf("%+v\nwant %+v", e, want)
	}
	if len(e.Countries) != 2 || e.Countries[0].Name != "SG" || e.Countries[0].Denied != 2 || e.Countries[0].Verified != 1 || len(e.Accounts) != 1 {
		t.Errorf("countries %+v, accounts %+v", e.Countries, e.Accounts)
	}
	if e := b.Entries(start.Add(time.Hour))[0]; e.Total.Denied != 1 || len(e.Hours) != 1 {
		t.Errorf("since the second hour: %+v", e.Total)
	}
}

// What is kept does not grow without end, and what finds no room is told.
func TestBook_isBounded(t *testing.T) {
	b := report.New()
	for i := range report.MaxRows + 5 {
		r := b.Row(fmt.Sprint("rule-", i))
		for h := range report.KeptHours + 10 {
			if i == 0 {
				r.Judged(&report.Check{At: start.Add(time.Duration(h) * time.Hour), Denied: true, Country: fmt.Sprint(h), Account: fmt.Sprint("a", h)})
			}
		}
		r.Judged(&report.Check{At: start})
	}
	if b.Forgotten() != 5 || b.Row("one more").ID() != 0 {
		t.Errorf("%d rules found no room, want 5", b.Forgotten())
	}
	for _, e := range b.Entries(time.Time{}) {
		if e.Name != "rule-0" {
			continue
		}
		if len(e.Hours) != report.KeptHours || e.Total.Denied != report.KeptHours+10 {
			t.Errorf("%d hours, %d in all", len(e.Hours), e.Total.Denied)
		}
		if n := len(e.Countries); n != report.MaxGroups+1 || e.Countries[0].Name != report.Other {
			t.Errorf("%d countries, the first is %s", n, e.Countries[0].Name)
		}
	}
}

// Policies that are tried one after another leave nothing behind that was never used.
func TestBook_makesRoomForWhatIsUsed(t *testing.T) {
	b := report.New()
	for i := range 3 * report.MaxRows {
		b.Retire()
		b.Row(fmt.Sprint("tried-", i))
	}
	if b.Row("used") == nil || b.Forgotten() != 0 {
		t.Errorf("%d found no room", b.Forgotten())
	}
}

// An outcome of an hour before the first that is remembered comes late, not lost.
func TestRow_hoursComeInAnyOrder(t *testing.T) {
	b := report.New()
	r := b.Row("a")
	for _, h := range []int{5, 2, 9, 2, 7} {
		r.Judged(&report.Check{At: start.Add(time.Duration(h) * time.Hour)})
	}
	var got []int
	for _, h := range b.Entries(time.Time{})[0].Hours {
		got = append(got, int(h.Start.Sub(start).Hours()), int(h.Judged))
	}
	if fmt.Sprint(got) != "[2 2 5 1 7 1 9 1]" {
		t.Errorf("hours and counts: %v", got)
	}
}

func TestBook_survivesARestart(t *testing.T) {
	b := report.New()
	b.Row("never used")
	r := b.Row("a")
	r.Judged(&report.Check{At: start, Denied: true, Country: "SG", Account: "acme", Money: 7})
	r.Ended(&report.Check{At: start, Country: "SG", Account: "acme", Money: 7}, true)
	var file bytes.Buffer
	if err := b.Save(&file); err != nil {
		t.Fatal(err)
	}
	back, err := report.Load(&file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(back.Entries(time.Time{})), fmt.Sprint(b.Entries(time.Time{})[:1]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if back.Find(report.ID("a")) == nil {
		t.Error("the row is not found by its ID")
	}
	back.Row("a").Judged(&report.Check{At: start.Add(time.Hour), Denied: true, Country: "ID"})
}

func TestLoad_refusesWhatItDidNotWrite(t *testing.T) {
	for _, text := range []string{"", "{}", `{"sendgate":"lists","version":1}`, `{"sendgate":"shadow report","version":2}`,
		`{"sendgate":"shadow report","version":1,"rows":[{"name":""}]}`, `{"sendgate":"shadow report","version":1,"rows":[{"name":"a","first":1,"countries":{"SG":null}}]}`,
		`{"sendgate":"shadow report","version":1,"rows":[{"name":"a","first":1,"hours":[{"start":2},{"start":1}]}]}`} {
		if _, err := report.Load(strings.NewReader(text)); !errors.Is(err, report.ErrFile) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(`{"sendgate":"shadow report","version":1,"rows":[{"name":"a","first":1,"total":{"denied":1},"hours":[{"start":1}],"countries":{"SG":{}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := report.Load(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range b.Entries(time.Time{}) {
			b.Row(e.Name).Judged(&report.Check{At: start, Denied: true, Country: "SG", Account: "a"})
		}
	})
}

func TestBook_together(t *testing.T) {
	b := report.New()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				r := b.Row("shared")
				r.Judged(&report.Check{At: start.Add(time.Duration(n) * time.Minute), Denied: n%2 == 0, Country: "SG"})
				if n%50 == i {
					b.Entries(time.Time{})
					_ = b.Save(&bytes.Buffer{})
				}
			}
		})
	}
	all.Wait()
	if got := b.Entries(time.Time{})[0].Total; got.Judged != 1600 || got.Denied != 800 {
		t.Errorf("%+v", got)
	}
}
