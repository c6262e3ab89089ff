package console_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var images = flag.String("images", "", "folder to write screenshots to, for the documentation")

// shoot writes a picture of what is seen, or of the whole page.
func (p *page) shoot(name string, whole bool) {
	p.Helper()
	if *images == "" {
		return
	}
	picture := chromedp.CaptureScreenshot()
	if whole {
		picture = chromedp.FullScreenshot(100)
	}
	png, err := chromedp.Run(p.ctx, picture)
	if err != nil {
		p.fail(err)
	}
	if err := os.WriteFile(filepath.Join(*images, name+".png"), png, 0o644); err != nil {
		p.Fatal(err)
	}
}

// speed is how fast time goes in the sidecars of these tests.
const speed = "300"

var priced = []string{"--policy", "testdata/policy.yaml", "--prices", "testdata/prices.csv", "--clock-speed", speed}

func TestConsole_look(t *testing.T) {
	s := start(t, priced...)
	p := open(t, s.origin(), 1280, 900)
	p.do(chromedp.WaitVisible(chromedp.CSS("#key")))
	p.shoot("login", false)
	p.login(s.key())
	p.shoot("empty", true)
	s.simulate("--speedup", speed, "--for", "4h", "--sessions", "40000", "--attack", "ait_range:at=30m:for=3h:rate=60", "--attack", "retry_storm:at=20m:for=3h")
	p.until(`document.querySelectorAll('#attacks article').length > 1`)
	time.Sleep(25*time.Second)
	p.shoot("attack", true)
	is[bool](p, `document.getElementById('theme').click(), document.getElementById('theme').click(), true`)
	p.shoot("dark", true)
	q := open(t, s.origin(), 360, 780)
	q.login(s.key())
	q.until(`document.querySelectorAll('#attacks article').length > 1`)
	q.shoot("phone", true)
	t.Log(is[string](q, `JSON.stringify([document.documentElement.scrollWidth, innerWidth, [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className + '#' + e.id).slice(0, 10)])`))
}
