package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser is one Chromium for all tests.
var browser = sync.OnceValues(func() (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sendgate-chromium-")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(dir),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("no-proxy-server", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeAll := chromedp.NewContext(allocator)
	closeBrowser = func() {
		closeAll()
		stop()
		os.RemoveAll(dir)
	}
	return ctx, chromedp.Do(ctx)
})

var closeBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	closeBrowser()
	os.RemoveAll(programDir)
	os.Exit(code)
}

// patience is how long a page may take for what it is waited for. A machine can be busy.
const patience = 60 * time.Second

// page is a tab, and all that went wrong in it.
type page struct {
	testing.TB
	ctx    context.Context
	origin string

	mu       sync.Mutex
	requests int
	problems []string
	excused  *regexp.Regexp // problems that the test brings about
}

// open opens a tab of its own, without cookies of others, at a path of a sidecar. When the test ends, nothing may have gone wrong in
// it: no error in its console, no request to anywhere else, no number in any address.
func open(t *testing.T, origin string, width, height int64) *page {
	t.Helper()
	all, err := browser()
	switch {
	case err == nil:
	case !errors.Is(err, exec.ErrNotFound):
		t.Fatal(err)
	case os.Getenv("SENDGATE_REQUIRE_REAL") == "1":
		t.Fatal("!! chromium IS MISSING: make install-chromium")
	default:
		t.Skip("!! chromium IS MISSING, NOTHING IS PROVEN HERE: make install-chromium")
	}
	ctx, closeTab := chromedp.NewContext(all, chromedp.WithNewBrowserContext())
	p := &page{TB: t, ctx: ctx, origin: origin}
	messages, requests := chromedp.Console(ctx), chromedp.Events(ctx, network.RequestWillBeSent)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err == nil && (m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning) {
				p.problem("%s %s", m, m.URL)
			}
		}
	})
	listening.Go(func() {
		for r, err := range requests {
			if err == nil {
				p.asked(r.Request.URL)
			}
		}
	})
	t.Cleanup(func() {
		closeTab()
		listening.Wait()
		for _, problem := range p.problems {
			if p.excused == nil || !p.excused.MatchString(problem) {
				t.Errorf("the page: %s", problem)
			}
		}
		if p.requests == 0 {
			t.Error("no request of the page was seen: this test is blind")
		}
	})
	options := []chromedp.EmulateViewportOption{}
	if width < 500 {
		options = append(options, chromedp.EmulateMobile)
	}
	p.do(chromedp.EmulateViewport(width, height, options...), chromedp.Navigate(origin+"/"))
	return p
}

func (p *page) problem(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

var manyDigits = regexp.MustCompile(`[0-9]{7}`)

// asked looks at the address of a request.
func (p *page) asked(address string) {
	p.mu.Lock()
	p.requests++
	p.mu.Unlock()
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme+"://"+u.Host != p.origin:
		p.problem("it asked %s", address)
	case manyDigits.MatchString(address):
		p.problem("a number in the address %s", address)
	}
}

// do does what must work.
func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.fail(err)
	}
}

func (p *page) fail(err error) {
	p.Helper()
	said, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Fatalf("%v\nThe page says:\n%s\nand went wrong in: %q", err, said, p.problems)
}

// is is what a JavaScript expression is now.
func is[T any](p *page, expression string) T {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.fail(err)
	}
	return value
}

// says is the text that a person sees.
func (p *page) says() string { return is[string](p, "document.body.innerText") }

// until waits until a JavaScript expression is true.
func (p *page) until(expression string) {
	p.Helper()
	p.do(chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(patience)))
}

// live waits until the board is there.
func (p *page) live() {
	p.Helper()
	p.until(`document.getElementById('link').textContent === 'Live'`)
}

// login logs in with an admin key.
func (p *page) login(key string) {
	p.Helper()
	p.do(chromedp.WaitVisible(chromedp.CSS("#key")), chromedp.SendKeys(chromedp.CSS("#key"), key), chromedp.Click(chromedp.CSS("#login button")))
	p.live()
}

// has fails unless the page shows a text.
func (p *page) has(want string) {
	p.Helper()
	if says := p.says(); !strings.Contains(says, want) {
		p.Errorf("the page does not say %q:\n%s", want, says)
	}
}
