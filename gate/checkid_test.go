package gate

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func testIDs(t testing.TB, secret byte) *checkIDs {
	t.Helper()
	ids, err := newCheckIDs(bytes.Repeat([]byte{secret}, SecretSize), time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestCheckID_opensToWhatWasSealed(t *testing.T) {
	ids := testIDs(t, 1)
	want := checkID{at: time.Unix(1_800_000_000, 123), number: 999_999_999_999_999, account: accountTag("acme"), sequence: ids.next()}
	var buf [checkIDBytes + checkIDText]byte
	id := ids.seal(&buf, want)
	if len(id) > 64 {
		t.Errorf("the id is %d bytes, want at most 64", len(id))
	}
	got, err := ids.open(id)
	if err != nil || !got.at.Equal(want.at) || got.number != want.number || got.account != want.account || got.sequence != want.sequence {
		t.Errorf("open = %+v, %v, want %+v", got, err, want)
	}
	want.sequence = ids.next()
	if again := ids.seal(&buf, want); again == id {
		t.Error("two checks have one id")
	}
}

func TestCheckID_refusesEveryChange(t *testing.T) {
	ids := testIDs(t, 1)
	var buf [checkIDBytes + checkIDText]byte
	id := ids.seal(&buf, checkID{at: time.Unix(1_800_000_000, 0), number: 6581234567})
	for i := range id {
		changed := []byte(id)
		changed[i] ^= 1 // stays a letter of the alphabet or becomes none: refused either way
		if _, err := ids.open(string(changed)); !errors.Is(err, ErrCheckID) {
			t.Fatalf("byte %d changed: err = %v, want %v", i, err, ErrCheckID)
		}
	}
	if _, err := testIDs(t, 2).open(id); !errors.Is(err, ErrCheckID) {
		t.Errorf("another secret: err = %v, want %v", err, ErrCheckID)
	}
}

func FuzzCheckIDOpen(f *testing.F) {
	ids := testIDs(f, 1)
	var buf [checkIDBytes + checkIDText]byte
	f.Add("")
	f.Add(ids.seal(&buf, checkID{at: time.Unix(1_800_000_000, 0), number: 1}))
	f.Add(string(bytes.Repeat([]byte("A"), checkIDText)))
	other := testIDs(f, 2)
	f.Fuzz(func(t *testing.T, id string) {
		if _, err := other.open(id); err == nil {
			t.Errorf("%q opened under a secret that made no id", id)
		}
	})
}
