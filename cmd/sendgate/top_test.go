package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// busyBoard is a board with more than fits, and names that would like to rule the terminal.
func busyBoard() *topBoard {
	b := &topBoard{addr: "127.0.0.1:7070"}
	m := &sendgatev1.WatchBoardResponse{
		Gate: &sendgatev1.BoardGate{Version: "1.2.3", Started: timestamppb.Now(), Currency: "USD", Stopped: 12_345_000_000, Warnings: []string{"mind\x1b[2Jthe gap"}},
		Attacks: &sendgatev1.BoardAttacks{Attacks: []*sendgatev1.BoardAttack{
			{Kind: "ait_range", Country: "UZ", Stopped: 12345, Saved: 2_345_000_000}, {Kind: "load_test", Stopped: 9}}},
		Blocks: &sendgatev1.BoardBlocks{Total: 30}, Reasons: new(sendgatev1.BoardReasons), Keys: new(sendgatev1.BoardKeys),
	}
	for i := range 30 {
		m.Reasons.Reasons = append(m.Reasons.Reasons, &sendgatev1.BoardReason{Reason: strings.Repeat("long", 40), Denied: uint32(i + 1)})
		m.Blocks.Blocks = append(m.Blocks.Blocks, &sendgatev1.DetectionBlock{Signal: &sendgatev1.Signal{Kind: "ait_range", Subject: "+9989072****"}, Until: timestamppb.Now()})
		m.Keys.Keys = append(m.Keys.Keys, &sendgatev1.BoardKey{Rule: "limit:x", Key: "endpoint \x1b]0;owned\a\r\n" + strings.Repeat("é", 200)})
	}
	for range topPast {
		m.Seconds = append(m.Seconds, &sendgatev1.BoardSecond{Allowed: 900, Denied: 100, P50: 18.94e-6, P99: 462e-6})
	}
	b.take(m)
	return b
}

// A frame fits its terminal, of whatever size, and obeys nobody but us.
func TestTop_frameFits(t *testing.T) {
	b := busyBoard()
	for _, size := range [][2]int{{80, 24}, {200, 60}, {40, 12}, {20, 5}, {8, 2}, {1, 1}} {
		lines := b.frame(size[0], size[1])
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for i, line := range lines {
			if n := utf8.RuneCountInString(line); n > size[0] {
				t.Errorf("%v: line %d has %d columns: %s", size, i, n, line)
			}
			if strings.ContainsAny(line, "\x1b\r\n\a") {
				t.Errorf("%v: line %d rules the terminal: %q", size, i, line)
			}
		}
	}
	text := strings.Join(b.frame(100, 40), "\n")
	for _, want := range []string{"UNDER ATTACK: ait_range UZ; 12,345 sends stopped, USD 2345.00 not spent", "checks       1,000 /s", "let through  90.0 %", "half within 18.9µs", "USD 12345.00 not spent"} {
		if !strings.Contains(text, want) {
			t.Errorf("the frame does not say %q:\n%s", want, text)
		}
	}
}

func TestTop_colours(t *testing.T) {
	b := busyBoard()
	if b.color = true; !strings.Contains(strings.Join(b.frame(80, 24), ""), "\x1b[1;31m") {
		t.Error("an attack is not red")
	}
	t.Setenv("NO_COLOR", "1")
	if inColor() {
		t.Error("NO_COLOR is not honoured")
	}
}

func TestTop_saysThatTheSidecarIsGone(t *testing.T) {
	b := busyBoard()
	b.lost = errors.New("connection refused")
	if text := b.frame(120, 24)[0]; !strings.Contains(text, "lost: connection refused; asking again") {
		t.Errorf("got %s", text)
	}
	if b.take(new(sendgatev1.WatchBoardResponse)); !strings.HasSuffix(b.frame(120, 24)[0], "live") {
		t.Error("it is still lost")
	}
}

func TestTop_keysThatEndIt(t *testing.T) {
	for keys, want := range map[string]int{"q": 1, "xyQ": 1, "\x03": 1, "": 1} {
		quits := 0
		quitOnKey(strings.NewReader(keys), func() { quits++ })
		if quits != want {
			t.Errorf("%q: %d", keys, quits)
		}
	}
}

// A frame replaces the one before, line by line, without clearing the screen, which would flicker.
func TestTop_draw(t *testing.T) {
	var out bytes.Buffer
	if err := draw(&out, []string{"a", "b"}); err != nil || out.String() != "\x1b[?2026h\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J\x1b[?2026l" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := draw(failing{}, nil); err == nil {
		t.Error("a terminal that is gone is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
