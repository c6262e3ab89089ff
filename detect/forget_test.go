package detect

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// After Forget nothing in a snapshot has the digits of the number, an outcome that comes late finds nothing, and others are known as before.
func TestForget(t *testing.T) {
	w := newWorld(t, Options{Size: 4 << 20, Seed: 3})
	const victim, other = 6581234567, 6591234567
	send := func(number, id uint64, i int) {
		w.e.Observe(&Send{ID: id, At: w.now, Number: number, CallingCode: 65, Country: CountryOf("SG"), Client: netip.AddrFrom4([4]byte{198, 51, byte(i), 9})})
		w.now += 20e9
	}
	for i := range 40 { // many strangers: the number is held
		send(victim, uint64(1000+i), i)
	}
	send(other, 2000, 77)
	holds := func(number uint64) bool {
		var buf bytes.Buffer
		if err := w.e.Snapshot(&buf); err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(buf.Bytes(), binary.LittleEndian.AppendUint64(nil, number))
	}
	if len(w.e.Blocks(w.now)) == 0 || !holds(victim) || !holds(other) {
		t.Fatal("nothing is known of the numbers, so the test shows nothing")
	}
	if n := w.e.Forget(victim); n < 3 {
		t.Errorf("%d places: want the cell, a session and a block at least", n)
	}
	if holds(victim) || !holds(other) {
		t.Error("the snapshot has the number, or has lost the other")
	}
	for _, b := range w.e.Blocks(w.now) {
		if b.Subject.Digits == victim {
			t.Error("a block names it")
		}
	}
	for _, a := range w.e.Alerts(0) {
		if a.Signal.Subject.Digits == victim {
			t.Error("an alert names it")
		}
	}
	if w.e.Outcome(w.now, 1000, Verified) {
		t.Error("a late outcome found the session")
	}
	if !w.e.Outcome(w.now, 2000, Verified) {
		t.Error("the other's session is lost")
	}
	w.now += hours
	send(other, 2001, 78)
	if due, next := w.e.sessions.due, w.e.sessions.next; next-due > 2 { // the newest is not due yet
		t.Errorf("sessions are judged no more: %d of %d", due, next)
	}
	if w.e.Forget(victim) != 0 {
		t.Error("something is left")
	}
}
