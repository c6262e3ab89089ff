package server

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/detect"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// maxWatching is how many may watch the board at a time: each costs a few kilobytes a second.
const maxWatching = 32

// boards tells those who watch what is new on the board, once a second. What is told is put together once for all of them, and only
// while there is one.
type boards struct {
	sendgatev1.UnsafeBoardServiceServer
	*admin
	board    *Board
	engine   *detect.Engine // nil where there is none
	draining <-chan struct{}
	watching bound
	watch    stopwatch
	failed   int64 // calls up to the last second

	mu       sync.Mutex
	parts    [boardParts]part
	version  uint64    // of the newest part
	asked    time.Time // when for budgets
	listed   time.Time // when the blocks were
	shadow   []*sendgatev1.ShadowRule
	reported time.Time     // when shadow was looked at
	ticked   chan struct{} // closed at the end of each second
}

// part is one part of the board, and at which version it last changed.
type part struct {
	message proto.Message
	version uint64
}

const (
	gatePart = iota
	reasonsPart
	attacksPart
	blocksPart
	keysPart
	rulesPart
	budgetsPart
	boardParts
)

func newBoards(a *admin, board *Board, engine *detect.Engine, draining <-chan struct{}) *boards {
	board.mu.Lock()
	board.inForce, board.now = a.gate.Policy, time.Now().Unix()
	board.mu.Unlock()
	m := a.metrics
	b := &boards{admin: a, board: board, engine: engine, draining: draining, ticked: make(chan struct{}),
		watch: stopwatch{surfaces: []*surface{m.grpc, m.stream, m.batch, m.http, m.extAuthz, m.forwardAuth, m.rls}}}
	b.watching.max = maxWatching
	b.watch.lap()
	return b
}

// run ends each second, until ctx ends.
func (b *boards) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			failed := total(b.metrics.errors.vec)
			b.board.roll(began, b.watch.lap(), failed-b.failed)
			b.failed, began = failed, now
			b.mu.Lock()
			if b.watching.now.Load() > 0 {
				b.refresh()
			}
			close(b.ticked)
			b.ticked = make(chan struct{})
			b.mu.Unlock()
		}
	}
}

// refreshAll leaves nothing as it was told before. b is locked.
func (b *boards) refreshAll() {
	b.asked, b.reported, b.listed = time.Time{}, time.Time{}, time.Time{}
	b.refresh()
}

// refresh puts the parts together again. b is locked.
func (b *boards) refresh() {
	var blocks []detect.Block
	if b.engine != nil {
		blocks = b.engine.Blocks(b.gate.Now().UnixNano())
	}
	for i, m := range [boardParts]proto.Message{
		gatePart: b.gateNow(), reasonsPart: b.board.why(), attacksPart: b.board.attacks(blocks), blocksPart: b.blockList(blocks),
		keysPart: b.board.limited(), rulesPart: b.rules(), budgetsPart: b.budgets(),
	} {
		if p := &b.parts[i]; p.message == nil || !proto.Equal(p.message, m) {
			b.version++
			*p = part{m, b.version}
		}
	}
}

// news is what changed after a version, and the version that it is.
func (b *boards) news(after uint64) (*sendgatev1.WatchBoardResponse, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if after == 0 { // who asks once is told what is, not what was when somebody watched last
		b.refreshAll()
	}
	out := new(sendgatev1.WatchBoardResponse)
	for i := range b.parts {
		if b.parts[i].version <= after {
			continue
		}
		switch m := b.parts[i].message.(type) {
		case *sendgatev1.BoardGate:
			out.Gate = m
		case *sendgatev1.BoardReasons:
			out.Reasons = m
		case *sendgatev1.BoardAttacks:
			out.Attacks = m
		case *sendgatev1.BoardBlocks:
			out.Blocks = m
		case *sendgatev1.BoardKeys:
			out.Keys = m
		case *sendgatev1.BoardRules:
			out.Rules = m
		case *sendgatev1.BoardBudgets:
			out.Budgets = m
		}
	}
	return out, b.version
}

// follow tells somebody what is new until ctx ends or the server drains. may is asked before each message.
func (b *boards) follow(ctx context.Context, past int, may func() error, send func(*sendgatev1.WatchBoardResponse) error) error {
	if !b.watching.enter() {
		return &failure{code: codes.ResourceExhausted, reason: "TOO_MANY_WATCH", message: "too many watch the board already: close another console", retryAfter: askAgain}
	}
	defer b.watching.leave()
	for version, last := uint64(0), int64(0); ; {
		if err := may(); err != nil {
			return err
		}
		b.mu.Lock()
		ticked := b.ticked
		b.mu.Unlock()
		out, now := b.news(version)
		out.Seconds = b.board.since(last, past)
		if n := len(out.Seconds); n > 0 {
			last = out.Seconds[n-1].At
		} else if version == 0 {
			last = time.Now().Unix() - 2
		}
		version, past = now, boardPast
		if err := send(out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.draining:
			return status.Error(codes.Unavailable, "the service is shutting down: watch another")
		case <-ticked:
		}
	}
}

// WatchBoard tells what is new once a second.
func (b *boards) WatchBoard(in *sendgatev1.WatchBoardRequest, stream grpc.ServerStreamingServer[sendgatev1.WatchBoardResponse]) error {
	ctx := stream.Context()
	may := func() error { // the key may have been taken away
		_, err := operator(ctx)
		return err
	}
	if in.PastSeconds < 0 || in.PastSeconds > boardPast {
		return invalid("past_seconds", "write 0 to 900")
	}
	return b.follow(ctx, int(in.PastSeconds), may, stream.Send)
}

// gateNow is the process and its policy.
func (b *boards) gateNow() *sendgatev1.BoardGate {
	p, sums := b.gate.Policy(), b.board.sums()
	out := &sendgatev1.BoardGate{Version: b.admin.version, Started: timestamppb.New(b.started), PolicyVersion: p.Version, PolicySource: p.Name,
		PolicySince: timestamppb.New(b.gate.PolicySince()), DetectLevel: string(p.Detect.Level), Feedback: b.gate.Feedback().String(),
		Allowed: sums.allowed, Challenged: sums.challenged, Denied: sums.denied, Spent: sums.spent, Stopped: sums.stopped}
	if t := b.board.prices; t != nil {
		out.Currency = t.Currency()
	}
	if s, err := b.Status(context.Background(), &sendgatev1.StatusRequest{}); err == nil {
		out.Warnings, out.PolicyError = s.Warnings, s.Policy.GetError()
		out.StoreOccupied, out.StoreCapacity = s.Store.GetOccupied(), s.Store.GetCapacity()
	}
	return out
}

// blocksEvery is how often the list of blocks is told: it is long, and in an attack every line of it changes all the time.
const blocksEvery = 3 * time.Second

// blockList is the blocks that stop most. b is locked.
func (b *boards) blockList(all []detect.Block) *sendgatev1.BoardBlocks {
	if last, ok := b.parts[blocksPart].message.(*sendgatev1.BoardBlocks); ok && time.Since(b.listed) < blocksEvery {
		return last
	}
	b.listed = time.Now()
	all = slices.Clone(all)
	slices.SortFunc(all, func(x, y detect.Block) int { return cmp.Or(cmp.Compare(y.Stopped, x.Stopped), cmp.Compare(y.ID, x.ID)) })
	out := &sendgatev1.BoardBlocks{Total: int32(len(all))}
	for i := range all[:min(len(all), blocksShown)] {
		out.Blocks = append(out.Blocks, toBlock(&all[i]))
	}
	return out
}

func toBlock(b *detect.Block) *sendgatev1.DetectionBlock {
	return &sendgatev1.DetectionBlock{
		Id: b.ID, Signal: toSignal(&b.Signal), Since: timestamppb.New(time.Unix(0, b.Since)), Until: timestamppb.New(time.Unix(0, b.Until)),
		Level: int32(b.Level), Stopped: int64(b.Stopped), Shadow: b.Shadow,
	}
}
