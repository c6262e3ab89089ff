// Package sendgate_test keeps the layers of the repository: who may import whom, and through which door the world comes in.
package sendgate_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sendgate/sendgate"

// A layer imports what is below it, never beside or above it. A new folder is given its layer here; a folder is covered by
// its longest prefix.
var layers = map[string]int{
	"limiter":           0,
	"detect":            0, // limiter and detect know nothing of each other: each can be proven, and replaced, alone.
	"internal/phone":    0,
	"internal/clientip": 0,
	"internal/prices":   0,
	"internal/mapped":   -1, // memory for the tables above
	"internal/lists":    1,  // numbers and addresses in, an answer out
	"internal/replies":  0,
	"internal/report":   0, // what would have happened, counted
	"internal/extract":  0,
	"policy":            1,
	"consent/keyword":   0, // a text in, what it asks for out
	"consent":           1,
	"internal/identity": 2, // reads accounts of a policy
	"gate":              2,
	// What cmd plugs into the gate.
	"limiter/redisstore":  3,
	"shared":              3,
	"audit":               3,
	"internal/replay":     3, // a gate of its own on a log
	"internal/policytest": 3, // gates of their own for tests of policies
	"internal/traffic":    0, // made-up traffic in, no judgement
	"alert":               4, // posts over HTTP
	"server":              4,
	"client":              4,
	"proto":               0,
	"console":             0, // the files of a page
	"cmd":                 5,
	"bench":               6, // looks at everything
	"examples":            6,
	"test":                6, // whole programs against real ones
	".":                   6, // this test
}

// testSupport are packages that only tests import, whatever their layer, so that nothing of them reaches a binary.
var testSupport = []string{"consent/consenttest", "limiter/limitertest", "gate/gatetest"}

// besides are imports within one layer, each with its reason.
var besides = map[[2]string]string{
	{"proto", "proto"}: "connect's handlers take the messages made beside them",
	{"bench", "bench"}: "the load test and the benchmarks drive the same traffic",
}

// A door is the only way in for a third-party module, so that its types, its faults and its replacement stay in one place.
type door struct {
	module string
	at     []string // folders, as in layers
	reason string
}

var doors = []door{
	{"google.golang.org/grpc", []string{"proto", "server", "client", "cmd", "bench"}, "the wire ends at the translators: a limiter without gRPC can be imported anywhere"},
	{"google.golang.org/protobuf", []string{"proto", "server", "client", "cmd", "bench"}, "as grpc"},
	{"google.golang.org/genproto", []string{"server", "client", "cmd"}, "error details are built and read at the wire, and printed for people"},
	{"connectrpc.com/connect", []string{"proto", "server"}, "JSON over HTTP is a surface"},
	{"golang.org/x/net", []string{"server"}, "as connect"},
	{"github.com/prometheus", []string{"server"}, "below it observers are told; what counts them is a surface"},
	{"go.opentelemetry.io", []string{"server"}, "as prometheus"},
	{"github.com/envoyproxy", []string{"server"}, "Envoy's API is a surface"},
	{"github.com/redis/rueidis", []string{"limiter/redisstore"}, "one store, one client"},
	{"go.yaml.in/yaml", []string{"policy"}, "YAML becomes immutable data once, with line and column in its errors"},
	{"cel.dev/cel-go", []string{"policy"}, "conditions are compiled where they are read"},
	{"github.com/nyaruka/phonenumbers", []string{"internal/phone"}, "its types allocate and print numbers in the clear"},
	{"github.com/dgraph-io/ristretto", []string{"internal/phone"}, "a cache drops what it likes: never for state"},
	{"golang.org/x/text", []string{"internal/phone", "consent/keyword"}, "widths and digits of a spelled number, accents of a keyword"},
	{"github.com/gaissmai/bart", []string{"internal/clientip", "internal/lists"}, "longest prefix of addresses"},
	{"github.com/cespare/xxhash", []string{"limiter", "detect"}, "keys are hashed, seeded, where they are counted"},
	{"golang.org/x/sys", []string{"limiter", "detect", "internal/mapped", "server", "bench"}, "memory off the Go heap, sockets, a precise sleep"},
	{"go.etcd.io/bbolt", []string{"consent"}, "what must outlive the process and is searched by key"},
	{"github.com/fsnotify/fsnotify", []string{"server"}, "files are watched by who owns the lifetimes"},
	{"github.com/alecthomas/kong", []string{"cmd"}, "flags end at the command"},
	{"golang.org/x/term", []string{"cmd"}, "the size of a terminal, and keys as they are pressed"},
	{"github.com/vbauerster/mpb", []string{"cmd"}, "progress is for a terminal"},
	{"github.com/HdrHistogram", []string{"bench"}, "percentiles of the load test"},
	// Only in tests, anywhere.
	{"pgregory.net/rapid", nil, "model tests"},
	{"github.com/minio/sio", []string{"cmd"}, "files that hold numbers are sealed where they are written"},
	{"github.com/chromedp", nil, "a real browser"},
	{"github.com/anishathalye/porcupine", nil, "history checks"},
	{"go.uber.org/goleak", nil, "leaked goroutines"},
	{"github.com/rogpeppe/go-internal", nil, "command-line scripts"},
}

// served are the standard library's servers, a surface as well.
var served = []string{"net/http", "net/rpc"}

// clocks are what reads the time of the machine. Below layer 3 the time is passed in: only so can replay run on a virtual clock,
// and a test without waiting. A timer that only wakes a goroutine in the background reads nothing and is free.
var clocks = []string{"Now", "Since", "Until", "Sleep"}

func TestLayers(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			path, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			if slices.Contains(testSupport, path) {
				if !f.test {
					t.Errorf("%s imports %s, which is for tests", f.path, path)
				}
				continue
			}
			from, to := f.folder, folderOf(t, path)
			if f.test || from == to || layers[to] < layers[from] {
				continue
			}
			if _, ok := besides[[2]string{from, to}]; !ok {
				t.Errorf("%s: %s (layer %d) imports %s (layer %d): imports point down only", f.path, from, layers[from], to, layers[to])
			}
		}
	}
}

func TestDoors(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			if host, _, _ := strings.Cut(imported, "/"); !strings.Contains(host, ".") || within(imported, module) {
				continue
			}
			at := slices.IndexFunc(doors, func(d door) bool { return within(imported, d.module) })
			switch {
			case at < 0:
				t.Errorf("%s imports %s, which has no door: add it to doors with a reason, and to docs/dependencies.md", f.path, imported)
			case !f.test && !slices.Contains(doors[at].at, f.folder):
				t.Errorf("%s imports %s, whose doors are %q: %s", f.path, imported, doors[at].at, doors[at].reason)
			}
		}
	}
}

func TestNothingServesBelowTheSurfaces(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			if !f.test && layers[f.folder] < 4 && f.folder != "proto" && slices.ContainsFunc(served, func(s string) bool { return within(imported, s) }) {
				t.Errorf("%s imports %s: only layers 4 and up serve", f.path, imported)
			}
		}
	}
}

func TestTimeIsPassedIn(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || layers[f.folder] >= 3 || f.folder == "proto" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, s.Sel.Name) {
					t.Errorf("%s: time.%s: below layer 3 the time is passed in", f.position(s), s.Sel.Name)
				}
			}
			return true
		})
	}
}

// No init: what a program does starts in its main, and importing a package costs nothing.
func TestNoInit(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.folder == "proto" { // generated code registers itself
			continue
		}
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init: make it a constructor", f.position(fn))
			}
		}
	}
}

// Every module that is imported has its reason in docs/dependencies.md.
func TestDependenciesAreExplained(t *testing.T) {
	text, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			for _, d := range doors {
				if within(imported, d.module) {
					used[d.module] = true
				}
			}
		}
	}
	for m := range used {
		if !strings.Contains(string(text), m) {
			t.Errorf("%s is imported and docs/dependencies.md does not say why", m)
		}
	}
}

// file is one Go file of the main module.
type file struct {
	path, folder string
	test         bool
	imports      []string
	syntax       *ast.File
	set          *token.FileSet
}

func (f *file) position(n ast.Node) string {
	p := f.set.Position(n.Pos())
	return fmt.Sprintf("%s:%d", f.path, p.Line)
}

// goFiles parses every Go file of the main module, whatever its build tags.
func goFiles(t *testing.T) []*file {
	t.Helper()
	set := token.NewFileSet()
	var files []*file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if d.IsDir() {
			if path == "." {
				return nil
			}
			if strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		syntax, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f := &file{path: path, test: strings.HasSuffix(path, "_test.go"), syntax: syntax, set: set}
		dir := filepath.ToSlash(filepath.Dir(path))
		if slices.Contains(testSupport, dir) {
			f.test = true
		}
		f.folder = folderOf(t, dir)
		for _, spec := range syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatal("found no Go files")
	}
	return files
}

// folderOf returns the entry of layers that covers a directory.
func folderOf(t *testing.T, dir string) string {
	t.Helper()
	longest := ""
	for folder := range layers {
		if len(folder) > len(longest) && within(dir, folder) {
			longest = folder
		}
	}
	if longest == "" {
		t.Fatalf("%s has no layer: add it to layers", dir)
	}
	return longest
}

// within reports whether a path is a folder or something in it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}
