package replies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/sendgate/sendgate/internal/mapped"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, o Options) *Table {
	t.Helper()
	table, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// begin asks without waiting: errTwin if there is a twin in flight.
func begin(t interface{ Fatal(...any) }, table *Table, now time.Time, account, key, body string) (Call, bool) {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	call, err := table.Begin(done, now, Question{account, key, table.Sum([]byte(body))}, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return call, err != nil
}

func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(head{}); n != 64 {
		t.Errorf("a head has %d bytes, want a cache line", n)
	}
	if n := unsafe.Sizeof(set{}); n != mapped.Page {
		t.Errorf("a set has %d bytes, want a page", n)
	}
	if end := unsafe.Offsetof(head{}.sum) + 4; end != unsafe.Sizeof(head{}) {
		t.Errorf("the checksum ends at %d and leaves out what is behind it", end)
	}
	if n := unsafe.Sizeof(region{}); n != 64 {
		t.Errorf("a region has %d bytes, want a cache line", n)
	}
}

func TestOpen_refuses(t *testing.T) {
	for _, o := range []Options{{Size: 1}, {Size: -1}, {Keep: -time.Second}, {Keep: time.Microsecond}, {Keep: 25 * time.Hour}} {
		if table, err := Open(o); err == nil {
			table.Close()
			t.Errorf("%+v: no error", o)
		}
	}
	path := filepath.Join(t.TempDir(), "replies")
	if err := os.WriteFile(path, bytes.Repeat([]byte("SENDGATE"), 1024), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: path}); !errors.Is(err, mapped.ErrForeign) {
		t.Errorf("the limiter's file: %v", err)
	}
}

// answer is what the model remembers of one key.
type answer struct {
	body, reply string
	expires     time.Time
	call        *Call // in flight
}

// The table against a map, over random calls, time passing and restarts.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		keep := time.Duration(rapid.IntRange(1, 20).Draw(t, "keep")) * time.Second
		o := Options{Path: filepath.Join(dir, strconv.Itoa(runs)), Size: 64 << 10, Keep: keep, Secret: []byte("s")}
		table, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { table.Close(); os.Remove(o.Path) }()
		now, model := start, map[string]*answer{}
		name := func(t *rapid.T) (account, key string) {
			// The pairs that read alike when written behind each other are different keys.
			return rapid.SampledFrom([]string{"", "a", "ab"}).Draw(t, "account"), rapid.SampledFrom([]string{"bc", "c", "k"}).Draw(t, "key")
		}
		pick := func(t *rapid.T) *answer {
			account, key := name(t)
			a := model[account+"/"+key]
			if a == nil || a.call == nil {
				t.Skip("not in flight")
			}
			return a
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				account, key := name(t)
				body := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "body")
				call, twin := begin(t, table, now, account, key, body)
				a := model[account+"/"+key]
				if a != nil && !a.expires.After(now) {
					a = nil
				}
				switch {
				case a == nil:
					if call.State != New {
						t.Fatalf("%v, twin %v, want new", call.State, twin)
					}
					model[account+"/"+key] = &answer{body: body, expires: now.Add(keep), call: &call}
				case a.body != body:
					if call.State != Conflict {
						t.Fatalf("%v, twin %v, want conflict", call.State, twin)
					}
				case a.call != nil:
					if !twin {
						t.Fatalf("%v, want to wait", call.State)
					}
				case call.State != Done || string(call.Reply) != a.reply:
					t.Fatalf("%v %q, twin %v, want done %q", call.State, call.Reply, twin, a.reply)
				}
			},
			"finish": func(t *rapid.T) {
				a := pick(t)
				a.reply = rapid.StringN(-1, -1, MaxReply).Draw(t, "reply")
				if err := a.call.Finish([]byte(a.reply)); err != nil {
					t.Fatal(err)
				}
				a.call.Abandon() // does nothing any more
				a.call = nil
			},
			"abandon": func(t *rapid.T) {
				a := pick(t)
				a.call.Abandon()
				a.call.Finish(nil)
				a.call, a.expires = nil, now
			},
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 8).Draw(t, "seconds")) * time.Second) },
			"restart": func(t *rapid.T) {
				table.Close()
				if table, err = Open(o); err != nil {
					t.Fatal(err)
				}
				for _, a := range model {
					if a.call != nil {
						a.call.Finish([]byte("from the grave"))
						a.call, a.expires = nil, now
					}
				}
			},
		})
	})
}

func TestFull_remembersNoMoreAndForgetsNothing(t *testing.T) {
	table := open(t, Options{Size: 2 * mapped.Page, Keep: time.Minute})
	states := map[State]int{}
	var fresh []string
	for i := range 40 {
		key := strconv.Itoa(i)
		call, _ := begin(t, table, start, "a", key, "x")
		states[call.State]++
		if call.State == New {
			fresh = append(fresh, key)
		}
		if err := call.Finish([]byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if states[New] != 16 || states[Full] != 24 {
		t.Fatalf("%v, want 16 new and 24 full", states)
	}
	if s := table.Stats(); s != (Stats{Capacity: 16, New: 16, Full: 24}) {
		t.Errorf("%+v", s)
	}
	for _, key := range fresh {
		if call, _ := begin(t, table, start.Add(time.Minute-time.Microsecond), "a", key, "x"); call.State != Done || string(call.Reply) != key {
			t.Errorf("%s: %v %q", key, call.State, call.Reply)
		}
	}
	clear(states)
	for i := range 16 {
		call, _ := begin(t, table, start.Add(time.Minute), "a", "other"+strconv.Itoa(i), "x")
		states[call.State]++
	}
	if states[New] < 8 { // even if all of them fall into one of the two sets
		t.Errorf("after a minute: %v", states)
	}
}

func TestTwoSetsFillWell(t *testing.T) {
	table := open(t, Options{Size: 8 << 20})
	n := table.Stats().Capacity
	for i := range n * 2 / 3 {
		if call, _ := begin(t, table, start, "a", strconv.FormatInt(i, 10), "x"); call.State != New {
			t.Fatalf("key %d of %d: %v", i, n, call.State)
		}
	}
}

// A clock that was years ahead for a while must not fill the table for years.
func TestRecordsOfAWrongClockAreFree(t *testing.T) {
	table := open(t, Options{Size: 2 * mapped.Page, Keep: time.Minute})
	for i := range 16 {
		call, _ := begin(t, table, start.AddDate(3, 0, 0), "a", strconv.Itoa(i), "x")
		call.Finish(nil)
	}
	if call, _ := begin(t, table, start, "a", "now", "x"); call.State != New {
		t.Errorf("%v, want new", call.State)
	}
	// A clock that was set back a little forgets nothing.
	table = open(t, Options{Size: 2 * mapped.Page, Keep: time.Minute})
	call, _ := begin(t, table, start, "a", "k", "x")
	call.Finish([]byte("yes"))
	if call, _ := begin(t, table, start.Add(-30*time.Second), "a", "k", "x"); string(call.Reply) != "yes" {
		t.Errorf("%v, want done", call.State)
	}
}

func TestFinish_refusesALongReply(t *testing.T) {
	table := open(t, Options{Size: mapped.Page})
	call, _ := begin(t, table, start, "a", "k", "x")
	if err := call.Finish(make([]byte, MaxReply+1)); err == nil {
		t.Error("no error")
	}
	if err := call.Finish([]byte("short")); err != nil {
		t.Error(err)
	}
	if call, _ := begin(t, table, start, "a", "k", "x"); string(call.Reply) != "short" {
		t.Errorf("%v %q", call.State, call.Reply)
	}
}

// A call that outlived its record must not write into the one that has its place now.
func TestFinish_afterItsRecordIsAnothers(t *testing.T) {
	table := open(t, Options{Size: mapped.Page, Keep: time.Second})
	var late [16]Call
	for i := range late {
		late[i], _ = begin(t, table, start, "a", strconv.Itoa(i), "x")
	}
	others := map[string]*Call{}
	for i := range late {
		if call, _ := begin(t, table, start.Add(time.Second), "b", strconv.Itoa(i), "x"); call.State == New {
			others[strconv.Itoa(i)] = &call
		}
	}
	for i := range late {
		late[i].Finish([]byte("a"))
	}
	for key, call := range others {
		if _, twin := begin(t, table, start.Add(time.Second), "b", key, "x"); !twin {
			t.Error("a call in flight was ended by another")
		}
		call.Finish([]byte("b"))
		if again, _ := begin(t, table, start.Add(time.Second), "b", key, "x"); string(again.Reply) != "b" {
			t.Errorf("%v %q, want b", again.State, again.Reply)
		}
	}
}

func TestSecret_anotherFindsNothing(t *testing.T) {
	o := Options{Path: filepath.Join(t.TempDir(), "replies"), Size: 1 << 20, Secret: []byte("one")}
	table := open(t, o)
	call, _ := begin(t, table, start, "acme", "+6591234567", "6591234567")
	call.Finish([]byte("yes"))
	sum := table.Sum([]byte("x"))
	table.Close()
	file, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{"6591234567", "acme"} {
		if bytes.Contains(file, []byte(clear)) {
			t.Errorf("the file tells %q", clear)
		}
	}
	o.Secret = []byte("two")
	table = open(t, o)
	if call, _ := begin(t, table, start, "acme", "+6591234567", "6591234567"); call.State != New {
		t.Errorf("with another secret: %v, want new", call.State)
	}
	if table.Sum([]byte("x")) == sum {
		t.Error("the same sum with another secret")
	}
}

// Whatever becomes of the file behind the header: no panic, and no reply that was never given.
func FuzzDamage(f *testing.F) {
	f.Add(uint16(0), []byte{0xff, 0xff})
	f.Add(uint16(56), []byte{2, 255})
	f.Add(uint16(512), []byte("another reply"))
	f.Fuzz(func(t *testing.T, at uint16, damage []byte) {
		table := open(t, Options{Size: 2 * mapped.Page, Keep: time.Minute})
		for i := range 16 {
			call, _ := begin(t, table, start, "a", strconv.Itoa(i), "x")
			call.Finish(fmt.Appendf(nil, "reply %d", i))
		}
		if int(at) < mapped.Page {
			for i, b := range damage {
				if int(at)+i < mapped.Page {
					table.mem.Bytes[int(at)+i] ^= b
				}
			}
		}
		for i := range 16 {
			call, _ := begin(t, table, start, "a", strconv.Itoa(i), "x")
			if call.State == Done && string(call.Reply) != fmt.Sprintf("reply %d", i) {
				t.Errorf("key %d: %q", i, call.Reply)
			}
			call.Finish(nil)
		}
	})
}

func TestDoesNotAllocate(t *testing.T) {
	table := open(t, Options{Size: 16 << 20})
	q := Question{Account: "acme", Body: table.Sum([]byte("body"))}
	keys := make([]string, 3000)
	for i := range keys {
		keys[i] = "5f0c2c56-7e0d-4f5e-9d43-" + strconv.Itoa(i)
	}
	room, reply, body, i := make([]byte, 0, MaxReply), make([]byte, 180), make([]byte, 300), 0
	for range 2 { // new, then done
		if n := testing.AllocsPerRun(1000, func() {
			q.Key, q.Body = keys[i%1500], table.Sum(body)
			i++
			call, err := table.Begin(context.Background(), start, q, room)
			if err != nil || call.State == Full {
				t.Fatal(call.State, err)
			}
			call.Finish(reply)
		}); n != 0 {
			t.Errorf("%v allocations a call", n)
		}
	}
}

func BenchmarkBegin(b *testing.B) {
	table := open(b, Options{Size: 128 << 20})
	q := Question{Account: "acme", Body: table.Sum([]byte("body"))}
	reply, room := make([]byte, 180), make([]byte, 0, MaxReply)
	for _, again := range []bool{false, true} {
		b.Run(map[bool]string{false: "new", true: "done"}[again], func(b *testing.B) {
			b.ReportAllocs()
			key := []byte("5f0c2c56-7e0d-4f5e-9d43-00000000")
			now := start
			for n := 0; b.Loop(); n++ {
				if !again || n == 0 {
					key = strconv.AppendInt(key[:24], int64(n), 16)
					now = now.Add(4 * time.Millisecond) // 150,000 are live at a time
				}
				q.Key = unsafe.String(&key[0], len(key))
				call, err := table.Begin(context.Background(), now, q, room)
				if err != nil || call.State == Full {
					b.Fatal(call.State, err)
				}
				call.Finish(reply)
			}
		})
	}
}
