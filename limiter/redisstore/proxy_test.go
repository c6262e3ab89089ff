package redisstore_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy is a way to a server that can be made bad.
type proxy struct {
	t        testing.TB
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    map[net.Conn]bool

	latency  atomic.Int64 // of each chunk, each way, in ns
	rate     atomic.Int64 // bytes a second, each way; 0 is any
	hole     atomic.Bool  // nothing comes through, and nobody is told
	deafness atomic.Int64 // so many answers are lost: their connection is reset when they come
	opened   atomic.Int64 // connections so far
	stuck    atomic.Int64 // what the first so many of them say is kept back; a chunk of it comes through later
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: l, target: target, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); p.reset() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", p.target)
			if err != nil {
				abort(c)
				continue
			}
			p.mu.Lock()
			p.conns[c], p.conns[s] = true, true
			p.mu.Unlock()
			n := p.opened.Add(1)
			go p.pipe(n, c, s, false)
			go p.pipe(n, s, c, true)
		}
	}()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// pipe copies what a connection says to another, as badly as it is told to.
func (p *proxy) pipe(number int64, from, to net.Conn, answers bool) {
	defer func() {
		abort(from)
		abort(to)
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			time.Sleep(time.Duration(p.latency.Load()))
			if rate := p.rate.Load(); rate > 0 {
				time.Sleep(time.Duration(int64(n) * int64(time.Second) / rate))
			}
			for p.hole.Load() {
				time.Sleep(time.Millisecond)
			}
			if stuck := !answers && number <= p.stuck.Load(); stuck {
				for number <= p.stuck.Load() {
					time.Sleep(time.Millisecond)
				}
				_, _ = to.Write(b[:n])
				time.Sleep(50 * time.Millisecond) // a reset at once would take it back
				return
			}
			if answers && p.deafness.Load() > 0 && p.deafness.Add(-1) >= 0 {
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset ends all connections with a RST.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		abort(c)
	}
}

func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
