// Command shapes compares the ways to ask: one call a check, batches, and a stream. It prints checks per CPU second of the server,
// a process of its own: the sidecar on its built-in policy with detection, and an empty handler.
//
//	go run ./bench/shapes [-rounds 7] [-time 1s] [-callers 16] [-cpuprofile FILE -only gate/stream]
//
// The ways take turns within each round, so that what else runs on the machine hits all of them. The ratios are the result; the
// absolute numbers are those of the machine and the hour.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sendgate/sendgate/bench"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const batchSize = 100

type settings struct {
	rounds, callers int
	time            time.Duration
	only, profile   string
	serve           string
	policy          string
	numbers         uint64
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 7, "how often each way has its turn")
	flag.IntVar(&s.callers, "callers", 16, "how many ask at a time")
	flag.DurationVar(&s.time, "time", time.Second, "how long a turn is")
	flag.StringVar(&s.only, "only", "", "only ways whose name holds this, such as gate/stream")
	flag.StringVar(&s.profile, "cpuprofile", "", "have the server write a CPU profile to this file; give -only too")
	flag.StringVar(&s.policy, "policy", "", "policy file of the sidecar; default the built-in one")
	flag.Uint64Var(&s.numbers, "numbers", 1_000_000, "how many numbers are sent to, from a fifth as many clients")
	flag.StringVar(&s.serve, "serve", "", "be a server: floor or gate")
	flag.Parse()
	work := run
	if s.serve != "" {
		work = serve
	}
	if err := work(s); err != nil {
		fmt.Fprintln(os.Stderr, "shapes:", err)
		os.Exit(1)
	}
}

// way is one way to ask one server. ask makes calls until its context ends and counts checks.
type way struct {
	name   string
	server *child
	ask    func(context.Context, *atomic.Int64) error
}

func run(s settings) error {
	var ways []way
	for _, kind := range []string{"floor", "gate"} {
		if !strings.HasPrefix(s.only, kind) && s.only != "" {
			continue
		}
		server, err := startServer(kind, s)
		if err != nil {
			return err
		}
		defer server.stop()
		conn, err := grpc.NewClient(server.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
		if err != nil {
			return err
		}
		defer conn.Close()
		c := &asker{client: sendgatev1.NewSendGateServiceClient(conn), population: bench.Traffic{Numbers: s.numbers, Clients: max(1, s.numbers/5), Accounts: 64}}
		for _, w := range []way{{"unary", server, c.unary}, {"batch", server, c.batch}, {"stream", server, c.stream}} {
			if w.name = kind + "/" + w.name; strings.Contains(w.name, s.only) {
				ways = append(ways, w)
			}
		}
	}
	results := make(map[string][]float64)
	for round := range s.rounds + 1 { // the first warms up and does not count
		for _, w := range ways {
			perCPU, err := turn(w, s)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			if round > 0 {
				results[w.name] = append(results[w.name], perCPU)
			}
		}
	}
	report(os.Stdout, s, results)
	return nil
}

// turn has callers ask for a while and returns checks per CPU second.
func turn(w way, s settings) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.time)
	defer cancel()
	var checks atomic.Int64
	var callers sync.WaitGroup
	failed := make(chan error, s.callers)
	before, err := w.server.cpuTime()
	if err != nil {
		return 0, err
	}
	for range s.callers {
		callers.Go(func() { failed <- w.ask(ctx, &checks) })
	}
	callers.Wait()
	after, err := w.server.cpuTime()
	if err != nil {
		return 0, err
	}
	for range s.callers {
		if err := <-failed; err != nil {
			return 0, err
		}
	}
	return float64(checks.Load()) / (after - before).Seconds(), nil
}

type asker struct {
	client     sendgatev1.SendGateServiceClient
	population bench.Traffic
	next       atomic.Uint64
}

func (a *asker) unary(ctx context.Context, checks *atomic.Int64) error {
	for ctx.Err() == nil {
		out, err := a.client.CheckSend(context.Background(), a.population.Request(a.next.Add(1)))
		if err != nil || out.Verdict == 0 {
			return errors.Join(err, errors.New("no verdict"))
		}
		checks.Add(1)
	}
	return nil
}

func (a *asker) batch(ctx context.Context, checks *atomic.Int64) error {
	for ctx.Err() == nil {
		in := &sendgatev1.CheckSendBatchRequest{Items: make([]*sendgatev1.CheckSendRequest, batchSize)}
		first := a.next.Add(batchSize)
		for i := range in.Items {
			in.Items[i] = a.population.Request(first + uint64(i))
		}
		out, err := a.client.CheckSendBatch(context.Background(), in)
		if err != nil || len(out.Items) != batchSize || out.Items[batchSize-1].Response.GetVerdict() == 0 {
			return errors.Join(err, errors.New("not every item was answered"))
		}
		checks.Add(batchSize)
	}
	return nil
}

// stream asks one question at a time: the next when the last is answered, as a caller does who waits for the verdict.
func (a *asker) stream(ctx context.Context, checks *atomic.Int64) error {
	stream, err := a.client.CheckSendStream(context.Background())
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := stream.Send(&sendgatev1.CheckSendStreamRequest{Check: a.population.Request(a.next.Add(1))}); err != nil {
			return err
		}
		out, err := stream.Recv()
		if err != nil || out.Response.GetVerdict() == 0 {
			return errors.Join(err, errors.New("no verdict"))
		}
		checks.Add(1)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// report writes a table: the median of each way, and how many times it is its server's unary.
func report(out io.Writer, s settings, results map[string][]float64) {
	policy := "its built-in policy with detection"
	if s.policy != "" {
		policy = "policy " + filepath.Base(s.policy)
	}
	fmt.Fprintf(out, "## %d callers, %s\n\nChecks per CPU second of the server, a process of its own; medians of %d rounds of %s, one connection, %d CPUs, %s.\n"+
		"`gate` is the sidecar, `floor` an empty handler. A batch has %d checks; on a stream each caller waits for his answer.\n\n",
		s.callers, policy, s.rounds, s.time, runtime.NumCPU(), runtime.Version(), batchSize)
	fmt.Fprintln(out, "| server | way | checks per CPU second | lowest | highest | times unary |\n|---|---|---|---|---|---|")
	for _, kind := range []string{"floor", "gate"} {
		for _, shape := range []string{"unary", "batch", "stream"} {
			of := results[kind+"/"+shape]
			if len(of) == 0 {
				continue
			}
			// Each round's ratio, so that a slow hour is slow for both.
			var ratios []float64
			for i, unary := range results[kind+"/unary"] {
				ratios = append(ratios, of[i]/unary)
			}
			fmt.Fprintf(out, "| %s | %s | %.0f | %.0f | %.0f | %.1f |\n", kind, shape, median(of), slices.Min(of), slices.Max(of), median(ratios))
		}
	}
	fmt.Fprintln(out)
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
