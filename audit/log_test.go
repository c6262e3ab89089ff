package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	secret  = bytes.Repeat([]byte{7}, 32)
	another = bytes.Repeat([]byte{8}, 32)
	start   = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
)

func options(dir string) Options {
	return Options{Dir: dir, Secret: secret, Now: func() time.Time { return start }, Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type body struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func fill(t testing.TB, l *Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := l.Append("test", body{i, "a text that has some length, so that a file is soon full"}); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, dir string, secrets ...[]byte) *Report {
	t.Helper()
	if secrets == nil {
		secrets = [][]byte{secret}
	}
	r, err := Verify(dir, secrets, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// read is the numbers of all test records.
func read(t testing.TB, dir string) (numbers []string, kinds []string) {
	t.Helper()
	for r, err := range Read(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if kinds = append(kinds, r.Kind); r.Kind == "test" {
			n, _, _ := strings.Cut(strings.TrimPrefix(string(r.Data), `{"n":`), ",")
			numbers = append(numbers, n)
		}
	}
	return numbers, kinds
}

// chain writes 30 records into three files, of which the oldest is packed.
func chain(t testing.TB, dir string) []segment {
	t.Helper()
	o := options(dir)
	o.MaxSize = 1800
	l := open(t, o)
	fill(t, l, 0, 30)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := segments(dir)
	if err != nil || len(all) < 3 {
		t.Fatal(all, err)
	}
	for i := range all[:len(all)-1] {
		if packed := all[i].packed; i == 0 && !packed {
			if err := all[i].pack(); err != nil {
				t.Fatal(err)
			}
		} else if i > 0 && packed {
			unpack(t, &all[i])
		}
	}
	all, err = segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func unpack(t testing.TB, s *segment) {
	t.Helper()
	b := content(t, s)
	os.Remove(s.path)
	s.path, s.packed = strings.TrimSuffix(s.path, ".gz"), false
	if err := os.WriteFile(s.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, s *segment) []byte {
	t.Helper()
	in, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerify(t *testing.T) {
	// Each changes the lines of the second of three files, whose first line is the chain's line `first`.
	for _, tt := range []struct {
		name   string
		change func(lines [][]byte) [][]byte
		want   string // with %d for first+3, the line that is meddled with; the fault begins so
	}{
		{"nothing", func(l [][]byte) [][]byte { return l }, ""},
		{"changed", func(l [][]byte) [][]byte {
			l[3] = bytes.Replace(l[3], []byte("some"), []byte("same"), 1)
			return l
		}, ".jsonl:4: line %d of the chain was changed"},
		{"changed time", func(l [][]byte) [][]byte {
			l[3] = bytes.Replace(l[3], []byte("09:00"), []byte("09:01"), 1)
			return l
		}, ".jsonl:4: line %d of the chain was changed"},
		{"changed seal", func(l [][]byte) [][]byte {
			at := len(l[3]) - 5
			l[3][at] = 'a' + (l[3][at]-'a'+1)%6
			return l
		}, ".jsonl:4: line %d of the chain was changed"},
		{"removed", func(l [][]byte) [][]byte { return append(l[:3:3], l[4:]...) }, ".jsonl:4: line %d of the chain is missing before this"},
		{"swapped", func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l }, ".jsonl:4: line %d of the chain is missing before this"},
		{"repeated", func(l [][]byte) [][]byte { return append(l[:4:4], l[3:]...) }, ".jsonl:5: line %d of the chain stands behind line %[1]d: swapped, repeated or put in"},
		{"put in", func(l [][]byte) [][]byte {
			return append(l[:3:3], append([][]byte{[]byte(`{"note":"I was here"}`)}, l[3:]...)...)
		},
			".jsonl:4: is not a line of an audit log"},
		{"cut in the middle", func(l [][]byte) [][]byte { return l[:3] }, ".jsonl:1: lines %d to "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			files := chain(t, dir)
			s := &files[1]
			text := tt.change(bytes.Split(bytes.TrimSuffix(content(t, s), []byte("\n")), []byte("\n")))
			if err := os.WriteFile(s.path, append(bytes.Join(text, []byte("\n")), '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
			r := verify(t, dir)
			if tt.want == "" {
				if len(r.Faults) > 0 || r.Lines != 30+r.Files || r.First.Seq != 1 || r.Last.Seq != uint64(r.Lines) {
					t.Errorf("%+v", r)
				}
				return
			}
			want := tt.want
			if strings.Contains(want, "%") {
				want = fmt.Sprintf(want, s.first+3)
			}
			if len(r.Faults) == 0 || !strings.Contains(r.Faults[0].String(), want) {
				t.Errorf("faults %v, want first %q", r.Faults, want)
			}
		})
	}
}

func TestVerify_files(t *testing.T) {
	last := func(files []segment) segment { return files[len(files)-1] }
	for _, tt := range []struct {
		name   string
		change func(dir string, files []segment) error
		want   string
	}{
		{"tail cut off", func(_ string, f []segment) error {
			s := last(f)
			b, err := os.ReadFile(s.path)
			return errors.Join(err, os.WriteFile(s.path, b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1], 0o600))
		}, "head.json: line %d of the chain is missing at the end"},
		{"last file gone", func(_ string, f []segment) error { return os.Remove(last(f).path) }, "missing at the end"},
		{"first file gone", func(_ string, f []segment) error { return os.Remove(f[0].path) }, "missing at the beginning, and the log did not remove them itself"},
		{"file in the middle gone", func(_ string, f []segment) error { return os.Remove(f[1].path) }, "missing before this"},
		{"head gone", func(dir string, _ []segment) error { return os.Remove(filepath.Join(dir, headName)) }, "head.json: missing"},
		{"head forged", func(dir string, f []segment) error {
			h, err := readHead(dir)
			h.Seq--
			return errors.Join(err, h.write(dir))
		}, "head.json: was changed"},
		{"packed file damaged", func(_ string, f []segment) error {
			b, err := os.ReadFile(f[0].path)
			b[len(b)/2] ^= 1
			return errors.Join(err, os.WriteFile(f[0].path, b, 0o600))
		}, "jsonl.gz"},
		{"half a line in an old file", func(_ string, f []segment) error { return os.Truncate(f[1].path, f[1].size-5) }, "half a line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			files := chain(t, dir)
			before := verify(t, dir)
			if err := tt.change(dir, files); err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if strings.Contains(want, "%d") {
				want = fmt.Sprintf(want, before.Last.Seq)
			}
			if r := verify(t, dir); len(r.Faults) == 0 || !strings.Contains(fmt.Sprint(r.Faults), want) {
				t.Errorf("faults %v, want %q", r.Faults, want)
			}
		})
	}
}

// Whoever rewrites everything from a line on, and the head, needs the secret; with a copy of an older state he needs none, and only a head
// that was kept elsewhere shows it.
func TestVerify_anchor(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	fill(t, l, 0, 5)
	l.Close()
	old := os.DirFS(dir)
	kept := t.TempDir()
	if err := os.CopyFS(kept, old); err != nil {
		t.Fatal(err)
	}
	l = open(t, options(dir))
	fill(t, l, 5, 9)
	l.Close()
	anchor := verify(t, dir).Head
	for d, want := range map[string]int{dir: 0, kept: 1} {
		if r := verify(t, d); len(r.Faults) != 0 {
			t.Errorf("without the anchor: %v", r.Faults)
		}
		if r, err := Verify(d, [][]byte{secret}, anchor); err != nil || len(r.Faults) != want {
			t.Errorf("with the anchor: %v %v", r.Faults, err)
		}
	}
	forged := t.TempDir()
	o := options(forged)
	o.Secret = another
	l = open(t, o)
	fill(t, l, 0, 9)
	l.Close()
	if r := verify(t, forged); len(r.Faults) == 0 {
		t.Error("a chain made with another secret passes")
	}
}

// A seal in capital letters is the same number and another text: it shows as well.
func TestVerify_capitals(t *testing.T) {
	dir := t.TempDir()
	files := chain(t, dir)
	text := content(t, &files[1])
	at := bytes.LastIndex(text, []byte(sealField)) + len(sealField)
	letter := at + bytes.IndexAny(text[at:], "abcdef")
	text[letter] -= 'a' - 'A'
	if err := os.WriteFile(files[1].path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); len(r.Faults) == 0 {
		t.Errorf("nothing found: %q", text[at:])
	}
}

// Any change to any byte of a file that is still plain shows.
func TestVerify_anyByte(t *testing.T) {
	dir := t.TempDir()
	files := chain(t, dir)
	s := files[1]
	text := content(t, &s)
	rapid.Check(t, func(rt *rapid.T) {
		b := bytes.Clone(text)
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		switch rapid.IntRange(0, 2).Draw(rt, "how") {
		case 0:
			b[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		case 1:
			b = append(b[:at], b[at+1:]...)
		default:
			b = append(b[:at:at], append([]byte{rapid.Byte().Draw(rt, "byte")}, b[at:]...)...)
		}
		if bytes.Equal(b, text) {
			return
		}
		if err := os.WriteFile(s.path, b, 0o600); err != nil {
			rt.Fatal(err)
		}
		if r := verify(t, dir); len(r.Faults) == 0 {
			rt.Errorf("nothing found: %q", b[max(0, at-40):min(len(b), at+40)])
		}
	})
}

// A process that is killed leaves half a line at worst: wherever it ends, the chain goes on behind the last whole one, and says so.
func TestOpen_tornTail(t *testing.T) {
	from := t.TempDir()
	l := open(t, options(from))
	fill(t, l, 0, 3)
	l.Close()
	all, _ := segments(from)
	text := content(t, &all[0])
	tail := len(text) - bytes.LastIndexByte(text[:len(text)-1], '\n') - 1
	for cut := range tail + 1 {
		dir := t.TempDir()
		name := filepath.Join(dir, filepath.Base(all[0].path))
		if err := os.WriteFile(name, text[:len(text)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, options(dir))
		fill(t, l, 9, 10)
		l.Close()
		numbers, kinds := read(t, dir)
		r := verify(t, dir)
		whole := cut == 0 || cut == tail
		if want := map[bool]string{true: "0,1,2,9", false: "0,1,9"}[cut == 0]; strings.Join(numbers, ",") != want || len(r.Faults) > 0 ||
			whole == strings.Contains(strings.Join(kinds, " "), KindTorn) || whole != (r.Torn == 0) {
			t.Fatalf("%d bytes missing: %v %v %+v", cut, numbers, kinds, r)
		}
	}
}

// A file that ends before its first line is none.
func TestOpen_emptyFile(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	fill(t, l, 0, 2)
	l.Close()
	if err := os.WriteFile(filepath.Join(dir, segmentName(4)), []byte(`{"seq":4,"t`), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, options(dir))
	fill(t, l, 2, 3)
	l.Close()
	if r := verify(t, dir); len(r.Faults) > 0 || r.Torn == 0 || r.Files != 1 {
		t.Errorf("%+v", r)
	}
}

// What was cut off before a start is not hidden by going on: no number of a line is given twice.
func TestOpen_lost(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	fill(t, l, 0, 5)
	l.Close()
	all, _ := segments(dir)
	text := content(t, &all[0])
	if err := os.Truncate(all[0].path, int64(bytes.Index(text, []byte(`{"seq":5`)))); err != nil {
		t.Fatal(err)
	}
	l = open(t, options(dir))
	fill(t, l, 5, 6)
	l.Close()
	r := verify(t, dir)
	if _, kinds := read(t, dir); len(r.Faults) != 1 || !strings.Contains(r.Faults[0].String(), "lines 5 to 6 of the chain are missing") ||
		strings.Join(kinds, " ") != "file test test test lost test" {
		t.Errorf("%v %v", r.Faults, kinds)
	}
}

// Nonsense behind the last line is kept and found, and the log goes on in a new file.
func TestOpen_nonsense(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	fill(t, l, 0, 2)
	l.Close()
	all, _ := segments(dir)
	f, err := os.OpenFile(all[0].path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, strings.Repeat("nonsense ", 20))
	f.Close()
	l = open(t, options(dir))
	fill(t, l, 2, 3)
	l.Close()
	numbers, _ := read(t, dir)
	if r := verify(t, dir); len(r.Faults) != 1 || !strings.Contains(r.Faults[0].String(), "is not a line") || strings.Join(numbers, "") != "012" {
		t.Errorf("%v %v", r.Faults, numbers)
	}
}

func TestOpen_twice(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	if _, err := Open(options(dir)); err == nil || !strings.Contains(err.Error(), "another process writes it") {
		t.Error(err)
	}
	l.Close()
	if err := l.Append("test", 1); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	l.Offer(start, "test", 1)
	open(t, options(dir)).Close()
}

func TestOpen_anotherSecret(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	fill(t, l, 0, 2)
	l.Close()
	o := options(dir)
	o.Secret = another
	l = open(t, o)
	fill(t, l, 2, 4)
	l.Close()
	if r := verify(t, dir, secret, another); len(r.Faults) > 0 || r.Files != 2 {
		t.Errorf("%+v", r)
	}
	if r := verify(t, dir, another); !strings.Contains(fmt.Sprint(r.Faults), "written with another secret") {
		t.Error(r.Faults)
	}
}

// Old files are packed, then removed by size and by age, which is said, and is no fault.
func TestRetention(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"size": func(o *Options) { o.KeepSize = 1500 },
		"age":  func(o *Options) { o.Keep, o.Now = time.Hour, func() time.Time { return time.Now().Add(2 * time.Hour) } },
	} {
		dir := t.TempDir()
		o := options(dir)
		o.MaxSize = 1800
		set(&o)
		l := open(t, o)
		fill(t, l, 0, 60)
		l.Close()
		open(t, o).Close() // tidies up first
		all, _ := segments(dir)
		r := verify(t, dir)
		if len(r.Faults) > 0 || r.Retired == 0 || r.Retired != all[0].first-1 {
			t.Errorf("by %s: %+v", name, r)
		}
		for _, s := range all[:len(all)-1] {
			if !s.packed {
				t.Errorf("by %s: %s is not packed", name, s.path)
			}
		}
		if r, _ := Verify(dir, [][]byte{secret}, "3:00000000000000000000000000000000"); len(r.Faults) > 0 {
			t.Errorf("a head that was let go: %v", r.Faults)
		}
	}
}

// A new file is begun when the old one is old.
func TestRotateByAge(t *testing.T) {
	dir, now := t.TempDir(), start
	o := options(dir)
	o.Now, o.MaxAge = func() time.Time { return now }, time.Hour
	l := open(t, o)
	fill(t, l, 0, 2)
	now = now.Add(time.Hour)
	fill(t, l, 2, 4)
	l.Close()
	if r := verify(t, dir); r.Files != 2 || len(r.Faults) > 0 {
		t.Errorf("%+v", r)
	}
}

// What is offered while the queue is full is dropped, never waited for, and the log says how much is missing.
func TestOffer_full(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.Queue = 10
	l := open(t, o)
	l.mu.Lock() // the disk is slow
	for i := range 100 {
		l.Offer(start, "test", body{N: i})
	}
	l.mu.Unlock()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	numbers, kinds := read(t, dir)
	r := verify(t, dir)
	if len(numbers)+int(r.Dropped) != 100 || len(numbers) < 10 || len(numbers) > 11 || kinds[len(kinds)-1] != KindDropped || len(r.Faults) > 0 {
		t.Errorf("%d written, %d dropped: %v %v", len(numbers), r.Dropped, kinds, r.Faults)
	}
}

// A disk that takes nothing makes changes fail, and refusals be counted; when it is well again the chain goes on.
func TestDiskFails(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	fill(t, l, 0, 2)
	file := l.w.file
	l.w.file, _ = os.Open(file.Name()) // cannot be written to
	if err := l.Append("test", body{N: 9}); err == nil {
		t.Error("no error")
	}
	l.mu.Lock()
	l.w.file = file
	l.mu.Unlock()
	fill(t, l, 2, 4)
	if s := l.Stats(); s.Failed == 0 || s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
	l.Close()
	numbers, _ := read(t, dir)
	if r := verify(t, dir); len(r.Faults) > 0 || r.Dropped != 1 || strings.Join(numbers, "") != "0123" {
		t.Errorf("%v %+v", numbers, r)
	}
}

func TestLongRecord(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	if err := l.Append("test", strings.Repeat("x", maxLine)); !errors.Is(err, errTooLong) {
		t.Error(err)
	}
	if err := l.Append("test", strings.Repeat("x", maxLine-300)); err != nil {
		t.Error(err)
	}
	l.Close()
	if r := verify(t, dir); len(r.Faults) > 0 || r.Lines != 2 {
		t.Errorf("%+v", r)
	}
}

func TestTogether(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.MaxSize, o.Queue = 10_000, 1<<14
	l := open(t, o)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 50 {
				if g == 0 && i%10 == 0 {
					if err := l.Append("test", body{N: i}); err != nil {
						t.Error(err)
					}
					if _, err := Verify(dir, [][]byte{secret}, ""); err != nil { // beside the writer
						t.Error(err)
					}
				}
				l.Offer(start, "test", body{N: i})
				l.Stats()
			}
		})
	}
	all.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); len(r.Faults) > 0 || r.Lines != 205+r.Files || r.Dropped > 0 {
		t.Errorf("%+v", r)
	}
}

const writeUntilKilled = "AUDIT_TEST_WRITE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writeUntilKilled); dir != "" {
		o := Options{Dir: dir, Secret: secret, Now: time.Now, MaxSize: 40_000}
		l, err := Open(o)
		if err != nil {
			panic(err)
		}
		for i := 0; ; i++ {
			l.Offer(time.Now(), "test", body{i, strings.Repeat("x", i%200)})
			if i%100 == 0 {
				if err := l.Append("kept", body{N: i}); err != nil {
					panic(err)
				}
				fmt.Println(i)
			}
		}
	}
	os.Exit(m.Run())
}

// Killed again and again while it writes as fast as it can: the chain is whole, and whatever Append returned for is there.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writeUntilKilled+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		seen := 0
		_ = lines(out, func([]byte, bool) bool { seen++; return seen < 10 })
		cmd.Process.Kill()
		_ = cmd.Wait()
		acknowledged += seen
		if r := verify(t, dir); len(r.Faults) > 0 {
			t.Fatalf("before the next start: %v", r.Faults)
		}
	}
	open(t, options(dir)).Close()
	kept := 0
	_, kinds := read(t, dir)
	for _, k := range kinds {
		if k == "kept" {
			kept++
		}
	}
	if r := verify(t, dir); len(r.Faults) > 0 || kept < acknowledged {
		t.Errorf("%d of %d changes are there; %v", kept, acknowledged, r.Faults)
	}
}
