package replay

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const sendLine = `{"t":"2026-01-05T00:00:02.597Z","type":"send","id":"a1","msisdn":"+6581237910","ip":"198.51.100.77","account":"acme","endpoint":"login","purpose":"otp","label":"benign"}`

func TestParse_readsEveryField(t *testing.T) {
	var e event
	line := `{"t":"2026-01-05T08:00:02.597+08:00","type":"send","id":"a1","msisdn":"+6581237910","ip":"198.51.100.77","account":"acme",` +
		`"subaccount":"s","endpoint":"login","purpose":"otp","channel":"voice","cost":3,"challenge_passed":true,"extra":{"a":[1,null]}}`
	if err := e.parse([]byte(line)); err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{string(e.kind), string(e.id), string(e.number), string(e.client), string(e.account), string(e.subaccount),
		string(e.endpoint), string(e.purpose), string(e.channel)}, " ")
	if want := "send a1 +6581237910 198.51.100.77 acme s login otp voice"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !e.at.Equal(time.Date(2026, 1, 5, 0, 0, 2, 597e6, time.UTC)) || e.cost != 3 || !e.challengePassed {
		t.Errorf("at %v, cost %d, passed %v", e.at, e.cost, e.challengePassed)
	}
}

func TestParse_saysWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		`{"t":"2026-01-05T00:00:02Z","type":"send"`: "not a JSON object",
		`null`: "not a JSON object",
		`[1]`:  "not a JSON object",
		`{"t":"yesterday","type":"send","id":"1"}`:                                   "t: write a time",
		`{"t":"2026-01-05T00:00:02Z","type":"sent","id":"1"}`:                        `type: write "send"`,
		`{"t":"2026-01-05T00:00:02Z","type":"send"}`:                                 "id: missing",
		`{"t":"2026-01-05T00:00:02Z","type":"send","id":"1","msisdn":6581237910}`:    "msisdn: a value of the wrong type",
		`{"t":"2026-01-05T00:00:02Z","type":"send","id":"1","cost":"+6581237910"}`:   "cost: a value of the wrong type",
		`{"t":"2026-01-05T00:00:02Z","type":"send","id":"1","challenge_passed":"x"}`: "challenge_passed: a value",
	} {
		var e event
		err := e.parse([]byte(line))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", line, err, want)
		} else if strings.Contains(err.Error(), "658123") {
			t.Errorf("%s: the error repeats the number: %v", line, err)
		}
	}
}

// The fast path and encoding/json must agree about every line that the fast path takes.
func FuzzScan(f *testing.F) {
	for _, line := range []string{sendLine, `{"t":"x"}`, `{}`, ` { "t" : "x" , "id":"" } `, `{"t":"x","t":"y"}`, `{"t":"\u0041"}`, `{"t":"é"}`,
		`{"a":1}`, `{"t":"x"}}`, `{"t":"x",}`, `{"t" "x"}`, `{"cost":"1"}`, "{\"t\":\"a\x01\"}", "{\"t\":\"\x7f\"}"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var fast event
		if !fast.scan(line) {
			return
		}
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("scan takes %q, encoding/json says %v", line, err)
		}
		var slow event
		if err := slow.decode(line); err != nil {
			t.Fatalf("scan takes %q, decode says %v", line, err)
		}
		for key := range fields {
			a, b := fast.text([]byte(key)), slow.text([]byte(key))
			if a != nil && string(*a) != string(*b) {
				t.Fatalf("%q: %s is %q, encoding/json reads %q", line, key, *a, *b)
			}
		}
		if fast.cost != slow.cost || fast.challengePassed != slow.challengePassed {
			t.Fatalf("%q: numbers differ", line)
		}
	})
}

func FuzzAppendText(f *testing.F) {
	f.Add("a1")
	f.Add("\"\\\n\x80é ")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(appendText(nil, s), &back); err != nil || back != strings.ToValidUTF8(s, "�") && strings.ToValidUTF8(s, "") == s {
			t.Fatalf("%q is written as %s and read as %q, %v", s, appendText(nil, s), back, err)
		}
	})
}

func TestSent_remembersTheLatest(t *testing.T) {
	s := newSent()
	id := func(i int) string { return strings.Repeat(string(rune('A'+i%26)), 64) }
	is := func(i uint64, want string) bool {
		w, ok := s.find(i)
		return ok == (want != "") && w.checkID == want
	}
	for i := range keep + 10 {
		s.add(uint64(i), went{checkID: id(i)})
	}
	if !is(keep+9, id(keep+9)) || !is(10, id(10)) {
		t.Error("one of the latest is forgotten")
	}
	s.drop(10)
	if !is(10, "") {
		t.Error("found what was dropped")
	}
	for i := range keep {
		s.add(uint64(1<<30+i), went{checkID: id(i)})
	}
	if n := len(s.young.at) + len(s.old.at); n > 2*keep || !is(5, "") {
		t.Errorf("%d are remembered, want at most %d and the oldest forgotten", n, 2*keep)
	}
}
