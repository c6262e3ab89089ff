package gate

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sendgate/sendgate/limiter"
)

func testIDs(t testing.TB, secret byte) *checkIDs {
	t.Helper()
	ids, err := newCheckIDs(bytes.Repeat([]byte{secret}, SecretSize), time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// builtIn is what a check by the built-in policy remembers: five rules of three keys.
func builtIn() checkID {
	key := func(i uint64) limiter.Key {
		return shortKey(limiter.Key{Fingerprint: i * 0x9e3779b97f4a7c15, Place: ^i * 0x9e3779b97f4a7c15})
	}
	return checkID{
		at: time.Unix(1_800_000_000, 123), number: 999_999_999_999_999, account: accountTag("acme"), sequence: 7, allowed: true, knownGood: true,
		purpose: "transactional", timeout: time.Hour, cost: 1,
		took: []took{{1, key(1)}, {1 << 31, key(1)}, {3, key(2)}, {4, key(2)}, {5, key(3)}},
	}
}

func TestCheckID_opensToWhatWasSealed(t *testing.T) {
	ids := testIDs(t, 1)
	key := rapid.Custom(func(t *rapid.T) limiter.Key {
		return shortKey(limiter.Key{Fingerprint: rapid.Uint64().Draw(t, "fingerprint"), Place: rapid.Uint64().Draw(t, "place")})
	})
	rapid.Check(t, func(t *rapid.T) {
		want := checkID{
			at: time.Unix(0, rapid.Int64Min(0).Draw(t, "at")), number: rapid.Uint64Range(1, 999_999_999_999_999).Draw(t, "number"),
			account: accountTag(rapid.String().Draw(t, "account")), start: ids.start, sequence: rapid.Uint64().Draw(t, "sequence"),
			allowed: rapid.Bool().Draw(t, "allowed"), knownGood: rapid.Bool().Draw(t, "known good"), purpose: rapid.SampledFrom(purposes[:]).Draw(t, "purpose"),
		}
		if want.allowed {
			want.timeout = time.Duration(rapid.IntRange(10, 7*86400).Draw(t, "timeout")) * time.Second
			want.cost, want.money = rapid.Int64Range(1, limiter.MaxN).Draw(t, "cost"), rapid.Int64Range(0, limiter.MaxN).Draw(t, "money")
			for _, k := range rapid.SliceOfNDistinct(key, 0, 64, rapid.ID[limiter.Key]).Draw(t, "keys") {
				for range rapid.IntRange(1, 3).Draw(t, "rules") {
					want.took = append(want.took, took{rapid.Uint32().Draw(t, "rule"), k})
				}
			}
		}
		id, _ := ids.seal(nil, &want)
		got, err := ids.open(id)
		if err != nil || !reflect.DeepEqual(got, want) || len(id) > maxCheckID {
			t.Fatalf("open = %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestCheckID_isSmall(t *testing.T) {
	ids := testIDs(t, 1)
	c := builtIn()
	id, buf := ids.seal(nil, &c)
	if len(id) > 150 {
		t.Errorf("the id of a check by the built-in policy is %d bytes, want at most 150", len(id))
	}
	c.sequence++
	again, _ := ids.seal(buf, &c)
	if again == id {
		t.Error("two checks have one id")
	}
	if n := testing.AllocsPerRun(100, func() { _, buf = ids.seal(buf, &c) }); n > 1 {
		t.Errorf("seal allocates %v times, want once for the text", n)
	}
}

func TestCheckID_refusesEveryChange(t *testing.T) {
	ids := testIDs(t, 1)
	c := builtIn()
	id, _ := ids.seal(nil, &c)
	for i := range id {
		changed := []byte(id)
		changed[i] ^= 1 // stays a letter of the alphabet or becomes none: refused either way
		if _, err := ids.open(string(changed)); err == nil {
			t.Fatalf("byte %d changed: the id opens", i)
		}
	}
	for text, want := range map[string]error{"": errUnknownID, "no id": errUnknownID, id[:40]: errUnknownID, id[:len(id)-8] + "AAAAAAAA": errForgedID} {
		if _, err := ids.open(text); !errors.Is(err, want) {
			t.Errorf("%q: err = %v, want %v", text, err, want)
		}
	}
	if _, err := testIDs(t, 2).open(id); !errors.Is(err, errForgedID) {
		t.Errorf("another secret: err = %v, want %v", err, errForgedID)
	}
}

func FuzzCheckIDOpen(f *testing.F) {
	ids := testIDs(f, 1)
	c := builtIn()
	id, _ := ids.seal(nil, &c)
	f.Add("")
	f.Add(id)
	f.Add(string(bytes.Repeat([]byte("A"), len(id))))
	other := testIDs(f, 2)
	f.Fuzz(func(t *testing.T, id string) {
		if _, err := other.open(id); err == nil {
			t.Errorf("%q opened under a secret that made no id", id)
		}
	})
}

// What was sealed is ours, yet reading it must not panic whatever it is.
func FuzzCheckIDRead(f *testing.F) {
	c := builtIn()
	f.Add(c.append(nil))
	c.allowed = false
	f.Add(c.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < checkIDFixed {
			return
		}
		var c checkID
		if c.read(b) && (c.timeout < 0 || c.cost < 0 || c.money < 0) {
			t.Errorf("%x reads as %+v", b, c)
		}
	})
}
