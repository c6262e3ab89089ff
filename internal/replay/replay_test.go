package replay_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/replay"
	"github.com/sendgate/sendgate/policy"
)

const fixture = "../../detect/testdata/dev-10-tiny-fixture.jsonl.gz"

func newReplayer(t testing.TB, p *policy.Policy) *replay.Replayer {
	t.Helper()
	r, err := replay.New(t.Context(), replay.Options{Policy: p, TableSize: 64 << 20, DetectSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func readFixture(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestRun_sameLogSameBytes(t *testing.T) {
	log := readFixture(t)
	run := func() []byte {
		var out bytes.Buffer
		if _, err := newReplayer(t, nil).Run(t.Context(), bytes.NewReader(log), &out, replay.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	first := run()
	if n := bytes.Count(first, []byte("\n")); n != 16711 || !bytes.Contains(first, []byte(`"verdict":"challenge"`)) || !bytes.Contains(first, []byte(`"verdict":"deny"`)) {
		t.Fatalf("%d verdicts, or none that stops: this proves nothing", n)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, cores := range []int{1, 2} {
		runtime.GOMAXPROCS(cores)
		if !bytes.Equal(run(), first) {
			t.Errorf("GOMAXPROCS %d: the verdicts differ", cores)
		}
	}
}

// Whoever feeds the log may need a verdict to know the next line, as ../../../shared/scenarios/replay.py does.
func TestRun_writesAVerdictBeforeItReadsOn(t *testing.T) {
	in, feed := io.Pipe()
	verdicts, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := newReplayer(t, nil).Run(context.Background(), in, out, replay.RunOptions{LineByLine: true})
		out.Close()
		done <- err
	}()
	answers := bufio.NewReader(verdicts)
	for i, want := range []string{
		`{"id":"0","verdict":"allow","reason":"","rule":"","retry_after_ms":0}`,
		`{"id":"1","verdict":"deny","reason":"limit:number-minute","rule":"number-minute","retry_after_ms":59000}`,
		`{"id":"2","verdict":"deny","reason":"limit:number-minute","rule":"number-minute","retry_after_ms":58000}`,
	} {
		fmt.Fprintf(feed, `{"t":"2026-01-05T00:00:%02dZ","type":"send","id":"%d","msisdn":"+6581237910","ip":"198.51.100.77"}`+"\n", i, i)
		got, err := answers.ReadString('\n')
		if err != nil || strings.TrimSuffix(got, "\n") != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRun_badLines(t *testing.T) {
	send := `{"t":"2026-01-05T00:00:00Z","type":"send","id":"%d","msisdn":"+658123791%[1]d","ip":"198.51.100.77"}` + "\n"
	log := fmt.Sprintf(send, 0) + "\n{nonsense\n" + fmt.Sprintf(send, 1) + `{"t":"2026-01-05T00:00:00Z","type":"outcome","id":"1","outcome":"lost"}` + "\n"
	var out bytes.Buffer
	var bad []string
	r := newReplayer(t, nil)
	lines, err := r.Run(t.Context(), strings.NewReader(log), &out, replay.RunOptions{Bad: func(line int, err error) { bad = append(bad, fmt.Sprint(line, " ", err)) }})
	if err != nil || lines != 5 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%d lines, %v, verdicts %s", lines, err, out.String())
	}
	if got, want := strings.Join(bad, "; "), "3 not a JSON object; 5 outcome: write verified, failed, expired, delivered, undelivered or not_sent"; got != want {
		t.Errorf("bad lines: %s, want %s", got, want)
	}
	_, err = newReplayer(t, nil).Run(t.Context(), strings.NewReader(log), io.Discard, replay.RunOptions{Strict: true})
	var line *replay.LineError
	if !errors.As(err, &line) || !strings.HasPrefix(err.Error(), "line 3: ") {
		t.Errorf("strict: %v, want it to end at line 3", err)
	}
}

func TestRun_outcomesOfWhatWasDeniedAreIgnored(t *testing.T) {
	log := `{"t":"2026-01-05T00:00:00Z","type":"send","id":"a","msisdn":"+6581237910","ip":"198.51.100.77"}
{"t":"2026-01-05T00:00:01Z","type":"send","id":"b","msisdn":"+6581237910","ip":"198.51.100.77"}
{"t":"2026-01-05T00:00:02Z","type":"outcome","id":"b","outcome":"verified"}
{"t":"2026-01-05T00:00:03Z","type":"outcome","id":"a","outcome":"verified"}
{"t":"2026-01-05T00:00:03Z","type":"outcome","id":"c","outcome":"verified"}
`
	r := newReplayer(t, nil)
	if _, err := r.Run(t.Context(), strings.NewReader(log), io.Discard, replay.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if r.Counts.Outcomes != 3 || r.Counts.Unheard != 2 || r.Counts.Denied != 1 {
		t.Errorf("%+v, want 3 outcomes of which 2 are unheard, and 1 denied", r.Counts)
	}
}

func TestRun_answersWhatTheSidecarWouldRefuse(t *testing.T) {
	var out bytes.Buffer
	r := newReplayer(t, nil)
	_, err := r.Run(t.Context(), strings.NewReader(`{"t":"2026-01-05T00:00:00Z","type":"send","id":"a","msisdn":"+65812","ip":"198.51.100.77"}`), &out, replay.RunOptions{})
	if want := `{"id":"a","verdict":"deny","reason":"invalid:number","rule":"","retry_after_ms":0}` + "\n"; err != nil || out.String() != want || r.Counts.Invalid != 1 {
		t.Errorf("got %s, %v, want %s", out.String(), err, want)
	}
}

func BenchmarkRun(b *testing.B) {
	log := readFixture(b)
	lines := bytes.Count(log, []byte("\n"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newReplayer(b, nil).Run(b.Context(), bytes.NewReader(log), io.Discard, replay.RunOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*lines)/b.Elapsed().Seconds(), "lines/s")
}
