package detect

import (
	"net/netip"
	"testing"
)

// An account that reports no outcomes is told what is seen and not stopped, and makes no block that would stop others. A block that
// the traffic of others made holds for it as well.
func TestSilentAccounts(t *testing.T) {
	e, err := New(Options{Size: MinSize, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	at := int64(1_800_000_000e9)
	seen := map[Kind]int{}
	ask := func(s Send) Result {
		at += 5e8
		s.At, s.Country = at, CountryOf("SG")
		r := e.Observe(&s)
		if s.Silent && r.Advice.Stops() && !r.Blocked {
			t.Fatalf("a silent account is stopped: %s", r.Signals[0])
		}
		for _, sig := range r.Seen() {
			seen[sig.Kind]++
		}
		return r
	}
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{20, byte(i), byte(i >> 8), 7}) }
	for i := range 300 {
		ask(Send{Number: 6591230000 + uint64(i%100), Client: address(i), Silent: true})          // a range
		ask(Send{Number: 6580000000 + uint64(i)*104729, Client: address(70000), Silent: true})   // an address
		ask(Send{Number: 6581234567, Client: address(i + 300), Silent: true})                    // a victim
		ask(Send{Number: 6582345678, Client: address(80000), Silent: true, At: at})              // a broken client
		ask(Send{Number: 6583000000 + uint64(i)*7919, Client: address(i + 90000), Silent: true}) // nobody
	}
	for _, k := range []Kind{AITRange, IPFanout, VictimFlood, RetryStorm} {
		if seen[k] == 0 {
			t.Errorf("%s is not told", k)
		}
	}
	if blocks := e.Blocks(at); len(blocks) > 0 {
		t.Errorf("%d blocks, the first on %s", len(blocks), blocks[0].Subject)
	}
	for i := range 20 {
		ask(Send{Number: 6587654321, Client: address(i + 1000)})
	}
	if r := ask(Send{Number: 6587654321, Client: address(2000), Silent: true}); r.Advice != Deny || !r.Blocked {
		t.Errorf("a block that others made: %s", r.Advice)
	}
}
