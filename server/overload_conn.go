package server

import (
	"encoding/binary"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// guarded is a connection of gRPC's that refuses checks in an overload before gRPC hears of them. Otherwise it only looks at where
// frames begin and which paths their headers name.
type guarded struct {
	net.Conn
	overload *overload

	// Reading is one goroutine's.
	in       []byte // what was read, in few or in a buffer of the overload's
	few      []byte
	from, to int    // the part of in that was not looked at yet
	full     bool   // the last time there was no end to what came
	ready    []byte // what gRPC gets next
	pass     int    // so much of what follows is of a frame that is handed on as it is
	methods  calledMethods
	blind    bool      // its headers cannot be followed
	newest   uint32    // call
	refusals *refusals // nil outside an overload

	mu      sync.Mutex
	head    [frameHead]byte // of the frame that gRPC writes
	headLen int             // so much of it was written
	body    int             // so much of what follows it was not
	waiting []byte          // trailers to write when that frame is whole
}

const (
	fewBytes   = 4 << 10 // are read at a time from most connections, so that idle ones hold little
	readBuffer = 32 << 10
	preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // what a client says before frames
)

// guard are credentials whose connections are guarded.
type guard struct {
	credentials.TransportCredentials
	overload *overload
}

func (g guard) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return conn, info, err
	}
	return newGuarded(conn, g.overload), info, nil
}

func (g guard) Clone() credentials.TransportCredentials {
	return guard{g.TransportCredentials.Clone(), g.overload}
}

func newGuarded(conn net.Conn, o *overload) *guarded {
	few := make([]byte, fewBytes)
	return &guarded{Conn: conn, overload: o, in: few, few: few, pass: len(preface)}
}

// Read is called by gRPC without a buffer of its own: for the head of a frame, then for the rest of it.
func (g *guarded) Read(p []byte) (int, error) {
	for len(g.ready) == 0 {
		g.makeRoom()
		n, err := g.Conn.Read(g.in[g.to:])
		g.to += n
		g.full = g.to == len(g.in)
		if n > 0 {
			g.look()
		} else if err != nil {
			return 0, err
		}
	}
	n := copy(p, g.ready)
	g.ready = g.ready[n:]
	return n, nil
}

// makeRoom makes room in the buffer, which holds at most a part of a frame that is needed whole, and takes a larger or a smaller one.
func (g *guarded) makeRoom() {
	left := g.in[g.from:g.to]
	switch large := len(g.in) > fewBytes; {
	case !large && g.full:
		g.in = g.overload.buffers.Get().(*[readBuffer]byte)[:]
		g.from, g.to = 0, copy(g.in, left)
	case large && !g.full && len(left) == 0:
		g.overload.buffers.Put((*[readBuffer]byte)(g.in))
		g.in, g.from, g.to = g.few, 0, 0
	case len(left) == 0 || g.full:
		g.from, g.to = 0, copy(g.in, left)
	}
}

// look finds out what gRPC gets of what was read.
func (g *guarded) look() {
	if g.blind || !g.overload.limited(time.Now) {
		g.refusals = nil
	} else if g.refusals == nil {
		g.refusals = &refusals{queue: newQueue()}
	}
	r := g.refusals
	if r != nil {
		r.begin(g.overload.room(r.queue()))
	}
	begin, calls := g.from, uint64(0)
	for g.from < g.to {
		rest := g.in[g.from:g.to]
		if g.pass == 0 {
			f, ok := frameOf(rest)
			if !ok {
				break
			}
			isCall := f.kind == frameHeaders && f.size <= maxFrame && !g.blind
			if f.size > len(rest) && (isCall || r != nil && !g.blind && r.takes(f)) {
				break
			}
			refused := false
			if isCall {
				calls++
				refused = g.call(f, rest[frameHead:f.size])
			} else if r != nil && !g.blind {
				refused = r.more(f)
			}
			if refused {
				g.from += f.size
				continue
			}
			if r != nil && (isCall || f.size > len(rest)) {
				r.flush()
			}
			g.pass = f.size
		}
		n := min(g.pass, len(rest))
		if r != nil {
			r.out = append(r.out, rest[:n]...)
		}
		g.from += n
		g.pass -= n
	}
	if calls > 0 {
		g.overload.calls.Add(calls)
	}
	if r == nil {
		g.ready = g.in[begin:g.from]
		return
	}
	if g.pass == 0 {
		r.flush()
	}
	g.ready = r.out
	if r.count > 0 {
		g.overload.refused.Add(r.count)
		g.overload.shed.Add(float64(r.count))
		g.say(r.said)
	}
}

// call reads the headers of a call and says whether it was refused.
func (g *guarded) call(f frame, payload []byte) bool {
	block, ok := f.block(payload)
	var path pathIs
	var plain bool
	if ok {
		path, plain, ok = g.methods.block(block)
	}
	if !ok {
		g.blind = true
		return false
	}
	isNew := f.stream > g.newest
	g.newest = max(g.newest, f.stream)
	return g.refusals != nil && isNew && path == aCheck && plain && g.refusals.refuse(f, block)
}

// say writes trailers between gRPC's frames. If it fails, so does all else on this connection.
func (g *guarded) say(trailers []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.headLen+g.body > 0 {
		g.waiting = append(g.waiting, trailers...)
		return
	}
	g.Conn.Write(trailers) //nolint:errcheck // as above
}

// Write is called by gRPC with any part of its frames.
func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := g.Conn.Write(p)
	if err != nil {
		return n, err
	}
	for len(p) > 0 {
		if g.body > 0 {
			n := min(g.body, len(p))
			g.body -= n
			p = p[n:]
			continue
		}
		copied := copy(g.head[g.headLen:], p)
		g.headLen += copied
		p = p[copied:]
		if f, ok := frameOf(g.head[:g.headLen]); ok {
			g.headLen, g.body = 0, f.size-frameHead
		}
	}
	if len(g.waiting) > 0 && g.headLen+g.body == 0 {
		_, err = g.Conn.Write(g.waiting)
		g.waiting = nil
	}
	return n, err
}

// frame is what the head of one says.
type frame struct {
	size        int // with the head
	kind, flags byte
	stream      uint32
}

const (
	frameHead = 9
	maxFrame  = frameHead + 16<<10 // gRPC's server takes no larger ones

	frameData, frameHeaders, frameReset = 0, 1, 3

	endStream, endHeaders, isPadded, hasPriority = 0x1, 0x4, 0x8, 0x20
)

func frameOf(b []byte) (frame, bool) {
	if len(b) < frameHead {
		return frame{}, false
	}
	return frame{size: frameHead + int(b[0])<<16 + int(b[1])<<8 + int(b[2]), kind: b[3], flags: b[4], stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31)}, true
}

// appendHead appends the head of a frame of so many bytes.
func appendHead(b []byte, length int, kind, flags byte, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

// block is the header block of a frame of headers, if it has all of it.
func (f frame) block(payload []byte) ([]byte, bool) {
	pad := 0
	if f.flags&isPadded != 0 {
		if len(payload) == 0 {
			return nil, false
		}
		pad, payload = int(payload[0]), payload[1:]
	}
	if f.flags&hasPriority != 0 {
		if len(payload) < 5 {
			return nil, false
		}
		payload = payload[5:]
	}
	if pad > len(payload) || f.flags&endHeaders == 0 {
		return nil, false
	}
	return payload[:len(payload)-pad], true
}
