package redisstore_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sendgate/sendgate/limiter/redisstore"
)

// TestMap: the newest stamp stays whoever comes last, a reader is told what changed, and that the server has lost it all.
func TestMap(t *testing.T) {
	r := startServer(t)
	m := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second}).Map("lists")
	put := func(field string, stamp uint64, text string) {
		t.Helper()
		if err := m.Put(t.Context(), []string{field}, [][]byte{append(binary.BigEndian.AppendUint64(nil, stamp), text...)}); err != nil {
			t.Fatal(err)
		}
	}
	epoch, rev := "", int64(0)
	after := func() (got []string) {
		t.Helper()
		var err error
		epoch, rev, err = m.After(t.Context(), epoch, rev, func(field string, value []byte) { got = append(got, field+"="+string(value[8:])) })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	read := func(want ...string) {
		t.Helper()
		if got := after(); !slices.Equal(got, want) {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	if read(); epoch != "" {
		t.Errorf("an empty map has epoch %q", epoch)
	}
	put("a", 5, "a5")
	put("b", 1<<52, "b")
	read("a=a5", "b=b")
	first := epoch
	put("a", 4, "a4")
	put("b", 1<<52, "late")
	read()
	put("a", 6, "a6\x00\xff")
	read("a=a6\x00\xff")
	r.do("FLUSHALL")
	if read(); epoch == first {
		t.Error("what was lost is not told")
	}
	put("c", 1, "c")
	if read("c=c"); epoch == first || epoch == "" {
		t.Errorf("epoch %q after %q", epoch, first)
	}
	for i := range 1200 {
		put(fmt.Sprintf("m%04d", i), 1, "")
	}
	total := 0
	for got := after(); len(got) > 0; got = after() {
		total += len(got)
	}
	if total != 1200 {
		t.Errorf("read %d of 1200", total)
	}
}

// TestLog: entries come in their order, from where one is, and not for ever.
func TestLog(t *testing.T) {
	r := startServer(t)
	s := open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second})
	l := s.Log("evidence", 100)
	at, err := l.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(entries ...[]byte) (got []string) {
		t.Helper()
		n, err := l.Exchange(t.Context(), entries, at, func(id string, data []byte) {
			at = id
			got = append(got, string(data))
		})
		if err != nil || n != len(got) {
			t.Fatal(n, err)
		}
		return got
	}
	if got := exchange([]byte("a"), []byte("b\x00\r\n")); fmt.Sprint(got) != fmt.Sprint([]string{"a", "b\x00\r\n"}) {
		t.Errorf("%q", got)
	}
	if got := exchange(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if end, err := l.End(t.Context()); err != nil || end != at {
		t.Errorf("%q, want %q: %v", end, at, err)
	}
	for range 1000 {
		exchange([]byte("x"))
	}
	if n, err := r.do("XLEN", "sg1{evidence}log").AsInt64(); err != nil || n < 100 || n > 300 {
		t.Errorf("%d entries, want about 100: %v", n, err)
	}
	if left, err := r.do("PTTL", "sg1{evidence}log").AsInt64(); err != nil || left <= 0 {
		t.Errorf("it lives for %d ms: %v", left, err)
	}
}

// TestBeat: sidecars know how many they are, and forget one that is silent.
func TestBeat(t *testing.T) {
	r := startServer(t)
	var stores []*redisstore.Store
	for range 3 {
		stores = append(stores, open(t, redisstore.Options{Addrs: []string{r.addr}, Timeout: 5 * time.Second}))
	}
	for i, s := range stores {
		if n, err := s.Beat(t.Context()); n != i+1 || err != nil {
			t.Errorf("%d sidecars, want %d: %v", n, i+1, err)
		}
	}
	if n, err := stores[0].Beat(t.Context()); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	names, err := r.do("ZRANGE", "sg1{members}beats", "0", "-1").AsStrSlice()
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	for _, name := range names { // which of them is the one that asks is not to be seen
		r.do("ZADD", "sg1{members}beats", "XX", "1000", name)
	}
	if n, err := stores[0].Beat(t.Context()); n != 1 || err != nil {
		t.Errorf("%d after all others were silent: %v", n, err)
	}
}
