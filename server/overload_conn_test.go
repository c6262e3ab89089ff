package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// echo answers with the metadata that it was asked with.
type echo struct {
	sendgatev1.UnimplementedSendGateServiceServer
	checks atomic.Int64
}

func (e *echo) CheckSend(ctx context.Context, in *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	e.checks.Add(1)
	return &sendgatev1.CheckSendResponse{CheckId: echoed(ctx) + in.Account}, nil
}

func (e *echo) ReportOutcome(ctx context.Context, _ *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, error) {
	return &sendgatev1.ReportOutcomeResponse{}, nil
}

func (e *echo) CheckSendStream(stream grpc.BidiStreamingServer[sendgatev1.CheckSendStreamRequest, sendgatev1.CheckSendStreamResponse]) error {
	for {
		in, err := stream.Recv()
		if err != nil {
			return ignoreEOF(err)
		}
		if err := stream.Send(&sendgatev1.CheckSendStreamResponse{Sequence: in.Sequence}); err != nil {
			return err
		}
	}
}

func echoed(ctx context.Context) string {
	return strings.Join(metadata.ValueFromIncomingContext(ctx, "x-echo"), ",")
}

// guardedServer serves echo over guarded connections.
func guardedServer(t *testing.T) (*echo, *overload, string) {
	t.Helper()
	o, e := testOverload(), &echo{}
	s := grpc.NewServer(append(TransportOptions(), grpc.Creds(guard{insecure.NewCredentials(), o}), grpc.ReadBufferSize(0))...)
	sendgatev1.RegisterSendGateServiceServer(s, e)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return e, o, l.Addr().String()
}

func dialed(t *testing.T, addr string) sendgatev1.SendGateServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return sendgatev1.NewSendGateServiceClient(conn)
}

func isRefusal(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.ResourceExhausted && s.Message() == overloadMessage
}

// While the limit comes and goes, each check is either answered, with its own headers and its own message, or refused; nothing else is
// refused; and the connection's tables and windows are in order afterwards.
func TestGuarded_answersOrRefuses(t *testing.T) {
	e, o, addr := guardedServer(t)
	var answered, refused atomic.Int64
	var all sync.WaitGroup
	for c := range 3 {
		client := dialed(t, addr)
		for g := range 16 {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(c), uint64(g)))
				for i := range 40 {
					if i%4 == 0 {
						o.limit.Store([]int64{noLimit, 0, 0, 1, 4, 40}[rng.IntN(6)])
					}
					// Of all lengths, so that tables are turned over and windows are used up.
					name := fmt.Sprintf("%d/%d/%d/%s", c, g, i, strings.Repeat("h", rng.IntN(10)*rng.IntN(10)*rng.IntN(60)))
					message := strings.Repeat("m", rng.IntN(10)*rng.IntN(10)*rng.IntN(10)*rng.IntN(100))
					ctx := metadata.AppendToOutgoingContext(context.Background(), "x-echo", name)
					switch v, err := client.CheckSend(ctx, &sendgatev1.CheckSendRequest{Account: message}); {
					case isRefusal(err):
						refused.Add(1)
					case err != nil:
						t.Errorf("a check: %v", err)
						return
					case v.CheckId != name+message:
						t.Errorf("a check was answered as another: %.60q, not %.60q", v.CheckId, name)
						return
					default:
						answered.Add(1)
					}
					if _, err := client.ReportOutcome(ctx, &sendgatev1.ReportOutcomeRequest{Account: message}); err != nil {
						t.Errorf("an outcome: %v", err)
						return
					}
					if i%10 == 0 {
						converseOnce(t, client)
					}
				}
			})
		}
		t.Cleanup(func() {
			if _, err := client.CheckSend(context.Background(), &sendgatev1.CheckSendRequest{Account: strings.Repeat("m", 1<<20)}); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	all.Wait()
	o.limit.Store(noLimit)
	t.Logf("%d answered, %d refused", answered.Load(), refused.Load())
	if answered.Load() == 0 || refused.Load() == 0 {
		t.Error("one of the two did not happen")
	}
	if e.checks.Load() != answered.Load() {
		t.Errorf("%d checks were made, %d answered", e.checks.Load(), answered.Load())
	}
	if n := int64(o.refused.Load()); n < refused.Load() {
		t.Errorf("%d are counted, %d were refused", n, refused.Load())
	}
}

// converseOnce opens a stream, which may be refused, and asks twice.
func converseOnce(t *testing.T, client sendgatev1.SendGateServiceClient) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.CheckSendStream(ctx)
	for n := uint64(1); n <= 2 && err == nil; n++ {
		if err = stream.Send(&sendgatev1.CheckSendStreamRequest{Sequence: n}); err != nil && !errors.Is(err, io.EOF) {
			break
		}
		var v *sendgatev1.CheckSendStreamResponse
		if v, err = stream.Recv(); err == nil && v.Sequence != n {
			t.Errorf("answer %d to question %d", v.Sequence, n)
		}
	}
	if err != nil && !isRefusal(err) {
		t.Errorf("a stream: %v", err)
	}
}

// speaker speaks HTTP/2 as other clients do.
type speaker struct {
	t     *testing.T
	conn  net.Conn
	frame *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func newSpeaker(t *testing.T, addr string) *speaker {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &speaker{t: t, conn: conn, frame: http2.NewFramer(conn, conn)}
	s.enc = hpack.NewEncoder(&s.block)
	s.frame.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, preface); err != nil {
		t.Fatal(err)
	}
	if err := s.frame.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *speaker) headers() []byte {
	s.block.Reset()
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", checks[0]}, {":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		s.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) //nolint:errcheck // to memory
	}
	return s.block.Bytes()
}

// verdict is the code that ends a stream.
func (s *speaker) verdict(stream uint32) string {
	s.t.Helper()
	for {
		f, err := s.frame.ReadFrame()
		if err != nil {
			s.t.Fatal(err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok && h.StreamID == stream && h.StreamEnded() {
			for _, field := range h.RegularFields() {
				if field.Name == "grpc-status" {
					return field.Value
				}
			}
			s.t.Fatalf("no grpc-status in %v", h.Fields)
		}
	}
}

func TestGuarded_otherClients(t *testing.T) {
	_, o, addr := guardedServer(t)
	s := newSpeaker(t, addr)
	empty := []byte{0, 0, 0, 0, 0} // a message
	ask := func(stream uint32, p http2.HeadersFrameParam) {
		t.Helper()
		p.StreamID, p.BlockFragment = stream, s.headers()
		split := p.BlockFragment[len(p.BlockFragment)/2:]
		if !p.EndHeaders {
			p.BlockFragment = p.BlockFragment[:len(p.BlockFragment)/2]
		}
		if err := s.frame.WriteHeaders(p); err != nil {
			t.Fatal(err)
		}
		if !p.EndHeaders {
			if err := s.frame.WriteContinuation(stream, true, split); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.frame.WriteDataPadded(stream, true, empty, make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
	}
	const ok, exhausted = "0", "8"
	expect := func(stream uint32, want string) {
		t.Helper()
		if got := s.verdict(stream); got != want {
			t.Fatalf("call %d ended with %s, not %s", stream, got, want)
		}
	}
	whole := http2.HeadersFrameParam{EndHeaders: true}
	padded := http2.HeadersFrameParam{EndHeaders: true, PadLength: 9, Priority: http2.PriorityParam{StreamDep: 0, Weight: 3}}
	ask(1, whole)
	expect(1, ok)
	o.limit.Store(0)
	ask(3, padded)
	expect(3, exhausted)
	ask(5, whole)
	expect(5, exhausted)
	o.limit.Store(noLimit)
	ask(7, padded)
	expect(7, ok)
	// The table's new size must stand at the beginning of a block: such a call is let in.
	o.limit.Store(0)
	s.enc.SetMaxDynamicTableSize(1000)
	ask(9, whole)
	expect(9, ok)
	ask(11, whole)
	expect(11, exhausted)
	// A client that splits headers is not followed any more.
	ask(13, http2.HeadersFrameParam{})
	expect(13, ok)
	ask(15, whole)
	expect(15, ok)
}

// Outside an overload no byte is changed, whatever comes and however it is cut.
func FuzzGuarded_handsOn(f *testing.F) {
	f.Add([]byte(preface+"\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x87\x00\x00\x02\x00\x01\x00\x00\x00\x01hi"), uint64(1))
	f.Add(append([]byte(preface+"\x00\x40\x00\x01\x05\x00\x00\x00\x01"), bytes.Repeat([]byte{0x82}, 1<<14)...), uint64(2))
	f.Add(bytes.Repeat([]byte{0, 0, 1}, 40<<10), uint64(3))
	f.Fuzz(func(t *testing.T, sent []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		there, here := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			for left := sent; len(left) > 0; {
				n := 1 + rng.IntN(min(len(left), 1+rng.IntN(40<<10)))
				if _, err := there.Write(left[:n]); err != nil {
					return
				}
				left = left[n:]
			}
		}()
		g := newGuarded(here, testOverload())
		got, _ := io.ReadAll(g)
		held := g.in[g.from:g.to] // a part of a frame, when the connection ended
		if !bytes.Equal(append(got, held...), sent) {
			t.Fatalf("%d bytes became %d and %d", len(sent), len(got), len(held))
		}
		if len(held) >= maxFrame {
			t.Fatalf("%d bytes are held back", len(held))
		}
	})
}

// Trailers of refused calls stand between gRPC's frames, wherever its writes end.
func TestGuarded_writesBetweenFrames(t *testing.T) {
	ours := string(appendHead(nil, 0, frameData, 0, 77))
	theirs := string(appendHead(nil, 3, frameData, 0, 1)) + "abc" + string(appendHead(nil, 0, frameData, endStream, 1))
	for at := range len(theirs) + 1 {
		there, here := net.Pipe()
		got := make(chan string, 1)
		go func() {
			all, _ := io.ReadAll(there)
			got <- string(all)
		}()
		g := newGuarded(here, testOverload())
		g.Write([]byte(theirs[:at])) //nolint:errcheck // what arrives is looked at
		g.say([]byte(ours))
		g.Write([]byte(theirs[at:])) //nolint:errcheck // as above
		here.Close()
		place := len(theirs) // gRPC's second write is whole before anything else is written
		if at == 0 || at == frameHead+3 {
			place = at
		}
		if want, all := theirs[:place]+ours+theirs[place:], <-got; all != want {
			t.Errorf("cut at %d: %x, not %x", at, all, want)
		}
	}
}
