package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type topCommand struct {
	operatorFlags
	Once bool `help:"Print one frame and end, as where there is no terminal."`
}

// Help is what `sendgate top --help` says below its first line.
func (topCommand) Help() string {
	return `It asks once a second, draws with plain ANSI and follows the size of the terminal, so it does well over ssh. q or Ctrl-C ends it. NO_COLOR turns colours off. Numbers are masked, addresses are cut to their network.`
}

// topPast is how many seconds of the past the curve shows at first.
const topPast = 120

// topAgain is how soon a sidecar that does not answer is asked again.
const topAgain = time.Second

func (c *topCommand) Run(s *streams) error {
	out, isFile := s.out.(*os.File)
	if c.Once || !isFile || !term.IsTerminal(int(out.Fd())) {
		return c.once(s)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	restore, err := takeTerminal(out, stop)
	if err != nil {
		return err
	}
	defer restore()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)

	c.Timeout = 365 * 24 * time.Hour // it goes on until it is ended
	news := make(chan *sendgatev1.WatchBoardResponse)
	lost := make(chan error)
	go c.follow(ctx, news, lost)
	board := topBoard{addr: c.Addr, color: inColor()}
	for {
		width, height, err := term.GetSize(int(out.Fd()))
		if err != nil {
			width, height = 80, 24
		}
		if err := draw(out, board.frame(width, height)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case m := <-news:
			board.take(m)
		case err := <-lost:
			if board.state.Gate == nil { // it never answered: wrong address or key
				return err
			}
			board.lost = err
		}
	}
}

// once prints one frame, as wide as it needs.
func (c *topCommand) once(s *streams) error {
	board := topBoard{addr: c.Addr}
	m, err := c.operatorFlags.board(topPast)
	if err != nil {
		return err
	}
	board.take(m)
	for _, line := range board.frame(100, 60) {
		if _, err := io.WriteString(s.out, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// board asks for the board as it is now.
func (o *operatorFlags) board(past int32) (m *sendgatev1.WatchBoardResponse, err error) {
	err = o.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		watch, err := sendgatev1.NewBoardServiceClient(conn).WatchBoard(ctx, &sendgatev1.WatchBoardRequest{PastSeconds: past})
		if err == nil {
			m, err = watch.Recv()
		}
		return err
	})
	return m, err
}

// follow hands over what is new, and asks again when the sidecar went away, until ctx ends.
func (c *topCommand) follow(ctx context.Context, news chan<- *sendgatev1.WatchBoardResponse, lost chan<- error) {
	for {
		err := c.ask(func(asked context.Context, conn *grpc.ClientConn) error {
			asked, cancel := context.WithCancel(asked)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			watch, err := sendgatev1.NewBoardServiceClient(conn).WatchBoard(asked, &sendgatev1.WatchBoardRequest{PastSeconds: topPast})
			for err == nil {
				var m *sendgatev1.WatchBoardResponse
				if m, err = watch.Recv(); err != nil {
					break
				}
				select {
				case news <- m:
				case <-ctx.Done():
				}
			}
			return err
		})
		select {
		case <-ctx.Done():
			return
		case lost <- err:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(topAgain):
		}
	}
}

// inColor says whether colours are wanted; see no-color.org.
func inColor() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // another page, no cursor, no wrapping
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// takeTerminal gives us the screen and the keys as they are pressed. restore gives it all back.
func takeTerminal(out *os.File, quit func()) (restore func(), err error) {
	restoreKeys := func() {}
	if keys := int(os.Stdin.Fd()); term.IsTerminal(keys) {
		before, err := term.MakeRaw(keys)
		if err != nil {
			return nil, err
		}
		restoreKeys = func() { term.Restore(keys, before) }
		go quitOnKey(os.Stdin, quit)
	}
	if _, err := io.WriteString(out, enterScreen); err != nil {
		restoreKeys()
		return nil, err
	}
	return func() {
		io.WriteString(out, leaveScreen)
		restoreKeys()
	}, nil
}

// quitOnKey waits for q, Ctrl-C or the end of the input.
func quitOnKey(keys io.Reader, quit func()) {
	var key [1]byte
	for {
		_, err := keys.Read(key[:])
		if err != nil && !errors.Is(err, syscall.EINTR) || key[0] == 'q' || key[0] == 'Q' || key[0] == 3 || key[0] == 4 {
			quit()
			return
		}
	}
}

// draw writes a frame over the one before, at once where the terminal can.
func draw(out io.Writer, lines []string) error {
	frame := "\x1b[?2026h\x1b[H"
	for i, line := range lines {
		if i > 0 {
			frame += "\r\n"
		}
		frame += line + "\x1b[K"
	}
	_, err := io.WriteString(out, frame+"\x1b[J\x1b[?2026l")
	return err
}

// take puts what is new into the board.
func (b *topBoard) take(m *sendgatev1.WatchBoardResponse) {
	b.lost = nil
	b.seconds = append(b.seconds, m.Seconds...)
	b.seconds = b.seconds[max(0, len(b.seconds)-topPast):]
	m.Seconds = nil
	for _, part := range []proto.Message{m.Gate, m.Reasons, m.Attacks, m.Blocks, m.Keys, m.Rules, m.Budgets} {
		if part.ProtoReflect().IsValid() {
			b.set(part)
		}
	}
}
