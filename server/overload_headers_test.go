package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// pathOf is what the whole decoder finds, and whether the block is one.
func pathOf(d *hpack.Decoder, block []byte) (pathIs, error) {
	fields, err := d.DecodeFull(block)
	is := noPath
	for _, f := range fields {
		if f.Name == ":path" {
			is = kept
			if refusable(f.Value) {
				is = aCheck
			}
		}
	}
	return is, err
}

func TestCalledMethods_asTheDecoder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	paths := []string{"/", "/index.html", checks[0], checks[2], "/sendgate.v1.SendGateService/ReportOutcome", "/envoy.service.auth.v3.Authorization/Check"}
	for range 20 {
		var buf bytes.Buffer
		enc, dec := hpack.NewEncoder(&buf), hpack.NewDecoder(4096, nil)
		var m calledMethods
		for i := range 1000 {
			buf.Reset()
			resized := rng.IntN(100) == 0
			if resized {
				enc.SetMaxDynamicTableSize(uint32(rng.IntN(4097)))
			}
			fields := []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: paths[rng.IntN(len(paths))]},
				{Name: ":authority", Value: "localhost"}, {Name: "content-type", Value: "application/grpc"}, {Name: "grpc-timeout", Value: fmt.Sprintf("%dm", rng.IntN(1000))},
				{Name: fmt.Sprintf("x-%d", rng.IntN(200)), Value: string(make([]byte, rng.IntN(300)))}}
			for _, f := range fields {
				f.Sensitive = rng.IntN(10) == 0
				enc.WriteField(f) //nolint:errcheck // to memory
			}
			want, err := pathOf(dec, buf.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			got, plain, ok := m.block(buf.Bytes())
			if !ok || got != want || plain == resized {
				t.Fatalf("block %d: path %v, plain %v, ok %v; the decoder says %v, resized %v\n%x", i, got, plain, ok, want, resized, buf.Bytes())
			}
		}
	}
}

// What the decoder takes must be read as the decoder reads it: a call that is refused by mistake is lost, and an outcome for good.
func FuzzCalledMethods(f *testing.F) {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	for _, path := range []string{checks[0], "/grpc.health.v1.Health/Check"} {
		enc.WriteField(hpack.HeaderField{Name: ":path", Value: path})                  //nolint:errcheck // to memory
		enc.WriteField(hpack.HeaderField{Name: ":path", Value: path, Sensitive: true}) //nolint:errcheck // to memory
	}
	f.Add(buf.Bytes(), []byte{0x84}, []byte{0xbf, 0xbe})
	f.Add([]byte("\x20\x3f\xe1\x1f\x44\x01/"), []byte("\x40\x05:path\x01/"), []byte{0xbe, 0xbf, 0xc0})
	f.Add([]byte("\x7f\xff\xff\xff\xff\xff\x0f\x00"), []byte("\x00\x85\xb9\x58\xd3\x3f\x01/"), []byte("\x0f\x2f\x00"))
	f.Fuzz(func(t *testing.T, one, two, three []byte) {
		dec := hpack.NewDecoder(4096, nil)
		var m calledMethods
		for _, block := range [][]byte{one, two, three} {
			want, err := pathOf(dec, block)
			got, _, ok := m.block(block)
			if err != nil {
				return // gRPC ends the connection
			}
			if ok && got != want {
				t.Fatalf("%x: path %v, the decoder says %v", block, got, want)
			}
			if !ok {
				return // it is never refused again
			}
		}
	})
}
