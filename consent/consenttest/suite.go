// Package consenttest is what every consent.Store has to do, as one suite of tests.
package consenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/sendgate/sendgate/consent"
)

// Opener opens a store anew. Calls with the same place see the same records if the store is durable.
type Opener func(t *testing.T, place string) consent.Store

// Run runs the suite. Durable says that records outlive Close.
func Run(t *testing.T, open Opener, durable bool) {
	ctx := context.Background()
	put := func(kind consent.Kind, key, value string) consent.Change {
		return consent.Change{Kind: kind, Key: []byte(key), Value: []byte(value)}
	}
	fresh := func(t *testing.T) consent.Store {
		s := open(t, t.TempDir())
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	t.Run("records are seen in the order of their keys", func(t *testing.T) {
		s := fresh(t)
		apply(t, s, put('o', "b2", "2"), put('o', "a1", "1"), put('p', "b0", "other kind"), put('o', "b10", ""), put('o', "b2\x00", "3"), put('o', "c", "4"))
		wantScan(t, s, 'o', "b", "b10= b2=2 b2\x00=3")
		wantScan(t, s, 'o', "", "a1=1 b10= b2=2 b2\x00=3 c=4")
		wantScan(t, s, 'p', "", "b0=other kind")
		wantScan(t, s, 'w', "", "")
		wantScan(t, s, 'o', "b2\x00\x00", "")
		apply(t, s, put('o', "\xfe\xff", "1"), put('o', "\xff\xff", "2"), put('o', "\xff\xff\xff", "3"), put('o', "\xff\xc3\x28", "4"))
		wantScan(t, s, 'o', "\xff\xff", "\xff\xff=2 \xff\xff\xff=3")
		wantScan(t, s, 'o', "\xff", "\xff\xc3\x28=4 \xff\xff=2 \xff\xff\xff=3")
		wantScan(t, s, 'o', "\xfe", "\xfe\xff=1")
	})
	t.Run("the last change of a key stands", func(t *testing.T) {
		s := fresh(t)
		apply(t, s, put('o', "a", "1"), put('o', "b", "1"))
		apply(t, s, consent.Change{Kind: 'o', Key: []byte("a")}, put('o', "b", "2"), put('o', "c", "1"), consent.Change{Kind: 'o', Key: []byte("c")}, consent.Change{Kind: 'o', Key: []byte("never there")})
		wantScan(t, s, 'o', "", "b=2")
		apply(t, s)
	})
	t.Run("more records than are read at a time", func(t *testing.T) {
		s := fresh(t)
		var all []consent.Change
		for i := range 1000 {
			all = append(all, put('o', fmt.Sprintf("k%04d", i), fmt.Sprint(i)))
		}
		apply(t, s, all...)
		n := 0
		scan(t, s, 'o', "k", func(k, v string) {
			if k != fmt.Sprintf("k%04d", n) || v != fmt.Sprint(n) {
				t.Fatalf("record %d is %s=%s", n, k, v)
			}
			n++
		})
		if n != len(all) {
			t.Errorf("%d records, want %d", n, len(all))
		}
	})
	t.Run("all changes or none", func(t *testing.T) {
		s := fresh(t)
		for _, bad := range []consent.Change{{Kind: 'x', Key: []byte("a"), Value: []byte{1}}, {Kind: 'o', Value: []byte{1}},
			{Kind: 'o', Key: make([]byte, consent.MaxKey+1)}, {Kind: 'o', Key: []byte("a"), Value: make([]byte, consent.MaxValue+1)}} {
			if err := s.Apply(ctx, put('o', "fine", "1"), bad); err == nil {
				t.Errorf("a change of kind %c with key of %d and value of %d bytes was taken", bad.Kind, len(bad.Key), len(bad.Value))
			}
		}
		wantScan(t, s, 'o', "", "")
		apply(t, s, consent.Change{Kind: 'o', Key: bytes.Repeat([]byte{'k'}, consent.MaxKey), Value: make([]byte, consent.MaxValue)})
		if err := s.Scan(ctx, 'x', nil, nil); err == nil {
			t.Error("an unknown kind was scanned")
		}
	})
	t.Run("what was given is kept, not the slices", func(t *testing.T) {
		s := fresh(t)
		c := put('o', "key", "value")
		apply(t, s, c)
		c.Key[0], c.Value[0] = 'X', 'X'
		wantScan(t, s, 'o', "", "key=value")
	})
	t.Run("a scan ends when it is told to", func(t *testing.T) {
		s := fresh(t)
		apply(t, s, put('o', "a", "1"), put('o', "b", "1"))
		enough, n := errors.New("enough"), 0
		if err := s.Scan(ctx, 'o', nil, func(_, _ []byte) error { n++; return enough }); err != enough || n != 1 {
			t.Errorf("%d records, then %v", n, err)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Scan(over, 'o', nil, func(_, _ []byte) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("scan with an ended context: %v", err)
		}
	})
	t.Run("everyone's changes are all there", func(t *testing.T) {
		s := fresh(t)
		var all sync.WaitGroup
		for who := range 16 {
			all.Go(func() {
				for i := range 20 {
					if err := s.Apply(ctx, put('o', fmt.Sprintf("%02d/%02d", who, i), "1"), put('g', fmt.Sprintf("last/%02d", who), fmt.Sprint(i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		n := 0
		scan(t, s, 'o', "", func(_, _ string) { n++ })
		scan(t, s, 'g', "last/", func(k, v string) {
			if v != "19" {
				t.Errorf("%s is %s: an earlier change came last", k, v)
			}
		})
		if n != 16*20 {
			t.Errorf("%d records, want %d", n, 16*20)
		}
	})
	t.Run("closed is closed", func(t *testing.T) {
		place := t.TempDir()
		s := open(t, place)
		apply(t, s, put('o', "a", "1"))
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Apply(ctx, put('o', "b", "1")); !errors.Is(err, consent.ErrClosed) {
			t.Errorf("apply: %v", err)
		}
		if err := s.Scan(ctx, 'o', nil, func(_, _ []byte) error { return nil }); !errors.Is(err, consent.ErrClosed) {
			t.Errorf("scan: %v", err)
		}
		again := open(t, place)
		defer again.Close()
		if durable {
			wantScan(t, again, 'o', "", "a=1")
		}
	})
}

func apply(t *testing.T, s consent.Store, changes ...consent.Change) {
	t.Helper()
	if err := s.Apply(context.Background(), changes...); err != nil {
		t.Fatal(err)
	}
}

func scan(t *testing.T, s consent.Store, kind consent.Kind, prefix string, each func(k, v string)) {
	t.Helper()
	if err := s.Scan(context.Background(), kind, []byte(prefix), func(k, v []byte) error { each(string(k), string(v)); return nil }); err != nil {
		t.Fatal(err)
	}
}

func wantScan(t *testing.T, s consent.Store, kind consent.Kind, prefix, want string) {
	t.Helper()
	got := ""
	scan(t, s, kind, prefix, func(k, v string) { got += " " + k + "=" + v })
	if got != "" {
		got = got[1:]
	}
	if got != want {
		t.Errorf("records of %s from %q: %q, want %q", kind, prefix, got, want)
	}
}
