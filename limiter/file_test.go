package limiter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/sendgate/sendgate/internal/mapped"
)

var fileLimits = []Limit{
	{Name: "three", Group: "number", N: 3, Window: time.Hour},
	{Name: "many", Group: "account", N: 1000, Window: time.Hour},
}

// madeFile makes a table in which a key has used up a limit, closes it, and returns its path.
func madeFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table")
	tab, r := open1(t, Options{Path: path, Size: 1 << 20}, fileLimits...)
	mustTake(t, tab, t0, Charge{r[0], tab.Key([]byte("k")), 3})
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// rewrite changes the bytes of a file.
func rewrite(t testing.TB, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Where things lie in a file.
const (
	planAt     = 64
	headerEnd  = planAt + 8 + 8*classes + 8
	livingIn   = mapped.Page + livingAt
	registryIn = mapped.Page + registryAt
)

// resum makes the checksum of a changed header right again.
func resum(b []byte) []byte {
	table := crc64.MakeTable(crc64.ECMA)
	binary.LittleEndian.PutUint64(b[56:], crc64.Update(crc64.Checksum(b[:56], table), table, b[planAt:headerEnd]))
	return b
}

// reword changes the registry that counts and makes its checksum right again.
func reword(t testing.TB, b []byte, old, next string) []byte {
	t.Helper()
	which := int64(binary.LittleEndian.Uint64(b[livingIn+16*8:]))
	size := int64(binary.LittleEndian.Uint64(b[planAt:]))
	c := b[registryIn+which*size:]
	text := c[16 : 16+binary.LittleEndian.Uint64(c)]
	if !bytes.Contains(text, []byte(old)) {
		t.Fatalf("the registry %s has no %s", text, old)
	}
	text = bytes.ReplaceAll(text, []byte(old), []byte(next))
	copy(c[16:], text)
	binary.LittleEndian.PutUint64(c, uint64(len(text)))
	binary.LittleEndian.PutUint64(c[8:], xxhash.Sum64(text))
	return b
}

func TestOpen_damaged(t *testing.T) {
	put := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[at:], v)
			return b
		}
	}
	summed := func(at int, v uint64) func([]byte) []byte {
		return func(b []byte) []byte { return resum(put(at, v)(b)) }
	}
	words := func(old, next string) func([]byte) []byte {
		return func(b []byte) []byte { return reword(t, b, old, next) }
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"empty":             {func([]byte) []byte { return nil }, ErrForeign},
		"one byte":          {func([]byte) []byte { return []byte("S") }, ErrForeign},
		"only magic":        {func(b []byte) []byte { return b[:8] }, ErrForeign},
		"half a header":     {func(b []byte) []byte { return b[:40] }, ErrTruncated},
		"only a header":     {func(b []byte) []byte { return b[:headerEnd] }, ErrTruncated},
		"all zero":          {func(b []byte) []byte { return make([]byte, len(b)) }, ErrForeign},
		"a text":            {func(b []byte) []byte { return bytes.Repeat([]byte("hello\n"), 1000) }, ErrForeign},
		"a page short":      {func(b []byte) []byte { return b[:len(b)-4096] }, ErrTruncated},
		"a byte short":      {func(b []byte) []byte { return b[:len(b)-1] }, ErrTruncated},
		"grown":             {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, ErrTruncated},
		"older":             {func(b []byte) []byte { b[8] = 0; return b }, ErrVersion},
		"newer":             {func(b []byte) []byte { b[8]++; return b }, ErrVersion},
		"torn seed":         {func(b []byte) []byte { b[30]++; return b }, ErrTorn},
		"torn size":         {put(16, 1<<30), ErrTorn},
		"torn header page":  {func(b []byte) []byte { clear(b[headerEnd:4096]); return b[:len(b):len(b)] }, nil}, // nothing is there
		"classes":           {func(b []byte) []byte { b[12]++; return resum(b) }, ErrTorn},
		"huge registry":     {summed(planAt, 1<<62), ErrTorn},
		"no registry":       {summed(planAt, 0), ErrTorn},
		"odd registry":      {summed(planAt, 4095), ErrTorn},
		"huge slots":        {summed(planAt+8, 1<<61), ErrTorn},
		"slots wrap around": {summed(planAt+16, 1<<63), ErrTorn},
		"too few slots":     {summed(planAt+24, 3), ErrTorn},
		"registry number":   {put(livingIn+16*8, 2), ErrTorn},
		"torn registry":     {func(b []byte) []byte { b[registryIn+16+20+32<<10]++; b[registryIn+16+20]++; return b }, ErrTorn},
		"floor":             {put(livingIn+8*8, 1<<60), ErrTorn},
		"newest":            {put(livingIn+8, 1<<60), ErrTorn},
		"registry syntax":   {words(`"Banks"`, `"Banks`), ErrTorn},
		"bank of no class":  {words(`"Class":0`, `"Class":9`), ErrTorn},
		"no such bank":      {words(`"Bank":1`, `"Bank":77`), ErrTorn},
		"bank 0":            {words(`"Bank":1`, `"Bank":0`), ErrTorn},
		"words outside":     {words(`"Off":1,"Cap":3`, `"Off":6,"Cap":3`), ErrTorn},
		"negative words":    {words(`"Off":1,"Cap":3`, `"Off":-1,"Cap":3`), ErrTorn},
		"no words":          {words(`"Off":1,"Cap":3`, `"Off":1,"Cap":0`), ErrTorn},
		"unknown form":      {words(`"Form":0`, `"Form":9`), ErrTorn},
		"buckets in a line": {words(`"Form":0`, `"Form":1`), ErrTorn},
		"bank null":         {words(`"Banks":[{"Class":0`, `"Banks":[null,{"Class":0`), ErrTorn},
		"no window":         {words(`"Window":3600000000`, `"Window":-1`), ErrTorn},
	} {
		t.Run(name, func(t *testing.T) {
			path := madeFile(t)
			rewrite(t, path, c.change)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tab, err := Open(Options{Path: path, Size: 1 << 20})
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil {
				tab.Close()
				return
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file away") {
				t.Errorf("error %q names no path or no way on", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(after, before) {
				t.Error("the file was changed")
			}
			// The way on, as it is told.
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			tab, err = Open(Options{Path: path, Size: 1 << 20})
			if err != nil {
				t.Fatalf("after moving the file away: %v", err)
			}
			tab.Close()
		})
	}
}

func TestOpen_notATable(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Options{Path: dir, Size: 1 << 20}); err == nil {
		t.Error("opened a directory")
	}
	if _, err := Open(Options{Path: filepath.Join(dir, "no", "such", "folder"), Size: 1 << 20}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := Open(Options{Path: "/dev/null", Size: 1 << 20}); !errors.Is(err, ErrForeign) {
		t.Errorf("/dev/null: %v, want ErrForeign", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpen_options(t *testing.T) {
	for name, o := range map[string]Options{
		"too small":             {Size: 1<<20 - 1},
		"negative":              {Size: -1},
		"too large":             {Size: 1<<40 + 1},
		"negative share":        {Size: 1 << 20, Shares: [3]int{-1, 2, 2}},
		"share of no two pages": {Size: 1 << 20, Shares: [3]int{1000, 1, 0}},
	} {
		if tab, err := Open(o); err == nil {
			tab.Close()
			t.Errorf("%s: no error", name)
		}
		o.Path = filepath.Join(t.TempDir(), "table")
		if tab, err := Open(o); err == nil {
			tab.Close()
			t.Errorf("%s, in a file: no error", name)
		}
		if left, _ := os.ReadDir(filepath.Dir(o.Path)); len(left) > 0 {
			t.Errorf("%s: left behind %v", name, left)
		}
	}
	// A file keeps its size and shares, whatever is asked.
	path := madeFile(t)
	tab, r := open1(t, Options{Path: path, Size: 64 << 20, Shares: [3]int{0, 0, 1}}, fileLimits...)
	mustDeny(t, tab, t0, Charge{r[0], tab.Key([]byte("k")), 1})
	if info, _ := os.Stat(path); info.Size() != 1<<20 || tab.Stats().Capacity > 1<<20/64 {
		t.Errorf("%d bytes, %+v", info.Size(), tab.Stats())
	}
}

func TestOpen_secondOwner(t *testing.T) {
	path := madeFile(t)
	tab, _ := open1(t, Options{Path: path})
	if _, err := Open(Options{Path: path}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("second Open: %v, want ErrInUse", err)
	}
	if out, err := child(t, "TestChild_open", path).CombinedOutput(); !strings.Contains(string(out), ErrInUse.Error()) {
		t.Errorf("second process: %v: %s", err, out)
	}
	tab.Close()
	if out, err := child(t, "TestChild_open", path).CombinedOutput(); err != nil || !strings.Contains(string(out), "opened") {
		t.Errorf("second process after Close: %v: %s", err, out)
	}
}

func TestOpen_manyAtOnce_oneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	owners := make(chan *Table, 20)
	for range cap(owners) {
		go func() {
			tab, err := Open(Options{Path: path, Size: 1 << 20})
			if err != nil && !errors.Is(err, ErrInUse) {
				t.Errorf("%v, want ErrInUse", err)
			}
			owners <- tab
		}()
	}
	n := 0
	for range cap(owners) {
		if tab := <-owners; tab != nil {
			defer tab.Close()
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d owners of one file", n)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left beside the table: %v", left)
	}
}

// child is this test binary, to run one of the TestChild_ tests.
func child(t *testing.T, test, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "SENDGATE_TEST_TABLE="+path)
	return cmd
}

func TestChild_open(t *testing.T) {
	path := os.Getenv("SENDGATE_TEST_TABLE")
	if path == "" {
		t.Skip("only as a child of another test")
	}
	tab, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	tab.Close()
	t.Log("opened")
}

func TestOpen_noPermission(t *testing.T) {
	// The tests may be root, whom nothing forbids: one thread gives its file rights up.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	path := madeFile(t)
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := syscall.Setfsuid(65534); err != nil {
			t.Skip(err)
		}
		defer syscall.Setfsuid(0)
	} else if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: path}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file that may not be written: %v", err)
	}
}

func TestOpen_sparseCopy(t *testing.T) {
	path := madeFile(t)
	rewrite(t, path, func(b []byte) []byte { return b })
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A copy with holes, as cp makes one: the slots after the registry are not there.
	const holes = registryIn + 2*32<<10
	if err := errors.Join(f.Truncate(holes), f.Truncate(1<<20)); err != nil {
		t.Fatal(err)
	}
	tab, _ := open1(t, Options{Path: path}, fileLimits...)
	defer tab.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 < 1<<20 {
		t.Errorf("%d bytes are allocated after Open, want all: a full disk would be a signal", st.Blocks*512)
	}
}

func TestOpen_fullDisk(t *testing.T) {
	var st syscall.Statfs_t
	dir := t.TempDir()
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bfree) * st.Bsize
	if free >= maxSize/2 {
		t.Skip("the disk is too large to ask for more")
	}
	_, err := Open(Options{Path: filepath.Join(dir, "table"), Size: free + 64<<30})
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("a table larger than the disk: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A process that dies while it writes the registry leaves the copy that counts.
func TestRegistry_tornWhileWritten(t *testing.T) {
	path := madeFile(t)
	rewrite(t, path, func(b []byte) []byte {
		other := 1 - int64(binary.LittleEndian.Uint64(b[livingIn+16*8:]))
		for i := range int64(32 << 10) {
			b[registryIn+other*32<<10+i] = byte(i)
		}
		return b
	})
	tab, r := open1(t, Options{Path: path}, fileLimits...)
	mustDeny(t, tab, t0, Charge{r[0], tab.Key([]byte("k")), 1})
}

func TestRegistry_full(t *testing.T) {
	tab, _ := open1(t, Options{Size: 1 << 20})
	var limits []Limit
	for i := range 2000 {
		limits = append(limits, Limit{Name: strings.Repeat("n", 20) + string(rune('a'+i)), Group: "g", N: 1, Window: time.Second})
	}
	if _, err := tab.Define(ctx, limits); err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("2000 rules in a small table: %v", err)
	}
	r := define(t, tab, fileLimits...)
	mustTake(t, tab, t0, Charge{r[0], tab.Key([]byte("k")), 1})
}

func TestNewest_survives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	tab, r := open1(t, Options{Path: path, Size: 1 << 20}, fileLimits...)
	if !tab.Newest().IsZero() {
		t.Errorf("newest reading of an empty table: %v", tab.Newest())
	}
	k := tab.Key([]byte("k"))
	mustTake(t, tab, t0.Add(time.Hour), Charge{r[0], k, 3})
	mustTake(t, tab, t0, Charge{r[1], k, 3}) // an older one changes nothing
	tab.Close()
	tab, r = open1(t, Options{Path: path}, fileLimits...)
	if n := tab.Newest(); n.Before(t0.Add(time.Hour)) || n.After(t0.Add(time.Hour+2*time.Millisecond)) {
		t.Errorf("newest reading %v, want %v", n, t0.Add(time.Hour))
	}
	// A clock that is behind waits; one that goes on from Newest does not wait longer than the window.
	if d := take(t, tab, t0, Charge{r[0], k, 1}); d.Allowed || d.RetryAfter != 2*time.Hour {
		t.Errorf("%+v", d)
	}
	if d := take(t, tab, tab.Newest(), Charge{r[0], k, 1}); d.Allowed || d.RetryAfter > time.Hour {
		t.Errorf("%+v", d)
	}
}

func TestSecret_changesKeys(t *testing.T) {
	dir := t.TempDir()
	key := func(secret string) Key {
		tab, err := Open(Options{Path: filepath.Join(dir, "table"), Size: 1 << 20, Secret: []byte(secret)})
		if err != nil {
			t.Fatal(err)
		}
		defer tab.Close()
		return tab.Key([]byte("k"))
	}
	a := key("a")
	if again := key("a"); a != again {
		t.Errorf("keys %v and %v of one file", a, again)
	}
	// The same file, seed and all, as if it had been made with another secret.
	if _, err := Open(Options{Path: filepath.Join(dir, "table"), Secret: []byte("b")}); !errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("another secret: %v, want ErrSecret", err)
	}
	rewrite(t, filepath.Join(dir, "table"), func(b []byte) []byte {
		binary.LittleEndian.PutUint64(b[headerEnd-8:], secretSum([]byte("b")))
		return resum(b)
	})
	if b := key("b"); a == b || a.Place == b.Place || a.Fingerprint == b.Fingerprint {
		t.Errorf("keys %v and %v by two secrets", a, b)
	}
	tab, _ := open1(t, Options{Size: 1 << 20})
	long := bytes.Repeat([]byte("x"), 1000)
	for n := range long {
		if k := tab.Key(long[:n]); k != tab.Key(long[:n:n]) || n > 0 && k == tab.Key(long[:n-1]) || k.Place == k.Fingerprint {
			t.Fatalf("key of %d bytes: %v", n, k)
		}
		if n <= 200 && tab.Key(long[:n]) != tab.longKey(long[:n]) {
			t.Fatalf("%d bytes hash differently as a long key", n)
		}
	}
}

// FuzzOpen changes the bytes of the header, the living words and the registry. Whatever they are, Open answers with a table that
// can be used or with an error.
func FuzzOpen(f *testing.F) {
	path := madeFile(f)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), []byte("SENDGATE"), true, true)
	f.Add(uint16(16), []byte{0, 0, 0, 0, 0, 0, 0, 128}, true, false)
	f.Add(uint16(24), bytes.Repeat([]byte{255}, 40), true, false)
	f.Add(uint16(4096), bytes.Repeat([]byte{255}, 200), false, false)
	f.Add(uint16(registryIn+16), []byte(`{"Banks":[null,{"Class":2}]}`), false, true)
	f.Add(uint16(registryIn+16+50), []byte(`-1`), false, true)
	f.Fuzz(func(t *testing.T, at uint16, change []byte, sumHeader, sumRegistry bool) {
		b := bytes.Clone(whole)
		copy(b[at:], change)
		if sumHeader {
			resum(b)
		}
		if sumRegistry {
			for i := range 2 {
				c := b[registryIn+i*32<<10:]
				if n := binary.LittleEndian.Uint64(c); n < 32<<10-16 {
					binary.LittleEndian.PutUint64(c[8:], xxhash.Sum64(c[16:16+n]))
				}
			}
		}
		p := filepath.Join(t.TempDir(), "table")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		tab, err := Open(Options{Path: p, Size: 1 << 20})
		if err != nil {
			return
		}
		defer tab.Close()
		r, err := tab.Define(ctx, fileLimits)
		if err != nil {
			return
		}
		for i := range 20 {
			k := tab.Key([]byte{byte(i % 7)})
			if _, err := tab.Take(ctx, t0, []Charge{{r[0], k, 1}, {r[1], k, 1}}); err != nil {
				t.Fatal(err)
			}
		}
		_ = tab.Stats()
		_ = tab.Newest()
	})
}
