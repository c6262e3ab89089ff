package server

import "strconv"

// refusals are what a connection knows of the calls that it refuses.
//
// HPACK makes each header block depend on those before, so the blocks of refused calls cannot just be left out. They are handed on as
// one frame with one block, which begins with a field that HTTP/2 forbids: gRPC's decoder takes in what they add to its table, then
// finds the whole malformed and resets the stream, which has ended by then. The data of refused calls are handed on as as many zeros,
// for gRPC keeps the connection's flow control.
type refusals struct {
	queue  func() int64
	room   int64 // for so many checks
	count  uint64
	out    []byte               // what gRPC gets
	said   []byte               // the trailers
	blocks []byte               // a frame of header blocks, without its head
	data   int                  // bytes of data
	last   uint32               // call refused
	known  [knownRefused]uint32 // the newest refused, whose data may come
}

const (
	// knownRefused is how many refused calls a connection knows. The data of one that it forgot reach gRPC, which drops them.
	knownRefused = 512
	// forbidden is a field without a name.
	forbidden = "\x00\x00\x00"
)

// trailers are all that a refused call gets: status 200, application/grpc, and grpc-status and grpc-message. None of the fields is for
// the table, which is gRPC's.
var trailers = "\x88" + "\x0f\x10" + hpackText("application/grpc") + "\x00" + hpackText("grpc-status") + hpackText(strconv.Itoa(int(errBusy.code))) +
	"\x00" + hpackText("grpc-message") + hpackText(overloadMessage)

const overloadMessage = "the processors are behind: ask again later, with fewer at a time"

func hpackText(s string) string { return string(rune(len(s))) + s } // shorter than 127 bytes

// begin is called before what was read is looked at, and says for how many checks there is room.
func (r *refusals) begin(room int64) {
	r.room, r.count, r.out, r.said = room, 0, r.out[:0], r.said[:0]
}

// refuse refuses a call if there is no room for it.
func (r *refusals) refuse(f frame, block []byte) bool {
	if r.room > 0 {
		r.room--
		return false
	}
	if len(r.blocks)+len(block) > maxFrame-frameHead {
		r.flush()
	}
	if len(r.blocks) == 0 {
		if len(forbidden)+len(block) > maxFrame-frameHead {
			return false
		}
		r.blocks = append(r.blocks, forbidden...)
	}
	r.blocks = append(r.blocks, block...)
	r.last = f.stream
	r.said = appendHead(r.said, len(trailers), frameHeaders, endHeaders|endStream, f.stream)
	r.said = append(r.said, trailers...)
	if f.flags&endStream == 0 {
		r.known[f.stream/2%knownRefused] = f.stream
		r.said = appendHead(r.said, 4, frameReset, 0, f.stream)
		r.said = append(r.said, 0, 0, 0, 0) // NO_ERROR: the rest need not be sent
	}
	r.count++
	return true
}

// takes says whether a frame is data of a refused call.
func (r *refusals) takes(f frame) bool {
	return f.kind == frameData && f.stream != 0 && f.size <= maxFrame && r.known[f.stream/2%knownRefused] == f.stream
}

// more takes a frame that belongs to a refused call.
func (r *refusals) more(f frame) bool {
	if !r.takes(f) {
		return false
	}
	if r.data += f.size - frameHead; r.data > maxFrame/2 {
		r.flush()
	}
	return true
}

// flush hands on what came with refused calls.
func (r *refusals) flush() {
	if len(r.blocks) > 0 {
		r.out = appendHead(r.out, len(r.blocks), frameHeaders, endHeaders|endStream, r.last)
		r.out = append(r.out, r.blocks...)
		r.blocks = r.blocks[:0]
	}
	for r.data > 0 {
		n := min(r.data, maxFrame-frameHead)
		r.out = appendHead(r.out, n, frameData, 0, r.last)
		r.out = append(r.out, make([]byte, n)...)
		r.data -= n
	}
}
