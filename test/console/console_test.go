package console_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// speed is how fast time goes in the sidecars of these tests.
const speed = "300"

var priced = []string{"--policy", "testdata/policy.yaml", "--prices", "testdata/prices.csv", "--clock-speed", speed}

// attack is a morning with number pumping in Uzbekistan, which begins after a few seconds.
var attack = []string{"--speedup", speed, "--for", "6h", "--sessions", "30000", "--attack", "ait_range:at=30m:for=5h:rate=60:country=UZ"}

// pumped waits until detection has seen it.
const pumped = `[...document.querySelectorAll('#attacks h3')].some((h) => h.textContent.startsWith('Number pumping, Uzbekistan'))`

// A day of an operator: he logs in, an attack begins, he sees it, releases a block, asks about a number, and logs out.
func TestConsole_anAttack(t *testing.T) {
	s := start(t, priced...)
	p := open(t, s.origin(), 1280, 860)
	p.do(chromedp.WaitVisible(chromedp.CSS("#key")))
	p.axe("login")
	p.do(chromedp.SendKeys(chromedp.CSS("#key"), "not-the-admin-key"), chromedp.Click(chromedp.CSS("#login button")),
		chromedp.WaitVisible(chromedp.CSS("#login-error")))
	p.excused = regexp.MustCompile(`401 .*/console/login`)
	p.has("no admin key of this sidecar")
	is[string](p, `document.getElementById('key').value = ''`)
	p.login(s.key())
	p.has("Waiting for the first check")
	p.axe("empty")

	s.simulate(attack...)
	p.until(`Number(document.querySelector('#tiles dd').textContent.replace(',', '')) > 20`)
	p.until(pumped)
	p.has("Under attack: Number pumping, Uzbekistan")
	if title := is[string](p, "document.title"); !strings.HasPrefix(title, "(") {
		t.Errorf("the tab says %q: nobody sees that there is an attack", title)
	}
	p.until(`document.querySelectorAll('#attacks svg.map rect.blocked').length > 0`)
	p.until(`document.querySelectorAll('#budgets li').length > 0`)
	before := is[string](p, `document.querySelector('#attacks .figures b').textContent`)
	p.until(`document.querySelector('#attacks .figures b').textContent !== '` + before + `'`)
	p.until(`[...document.querySelectorAll('#rules tr')].some((tr) => tr.textContent.includes('number-day') && tr.textContent.includes('shadow'))`)
	p.axe("attack")
	p.settle()
	p.shoot("console-attack")
	is[bool](p, `document.getElementById('attacks-section').scrollIntoView(), true`)
	p.shoot("console-map")

	// Release the block that is seen first.
	p.until(`document.querySelector('#blocks button') !== null`) // the list comes every three seconds, and may change between two looks
	label := is[string](p, `(() => { const b = document.querySelector('#blocks button'); b.click(); return b.getAttribute('aria-label') })()`)
	p.do(chromedp.WaitVisible(chromedp.CSS("#release")))
	p.has(strings.TrimPrefix(label, "Release "))
	p.axe("release")
	p.do(chromedp.SendKeys(chromedp.CSS("#release-reason"), "a customer's own numbers"), chromedp.SendKeys(chromedp.CSS("#release-author"), "alice"),
		chromedp.Click(chromedp.CSS("#release-yes")), chromedp.WaitNotVisible(chromedp.CSS("#release")))
	p.until(`document.getElementById('news').textContent === '` + strings.Replace(label, "Release", "Released", 1) + `.'`)
	if log := s.audit(); !strings.Contains(log, "release_block") || !strings.Contains(log, "a customer's own numbers") || !strings.Contains(log, "alice") {
		t.Errorf("the release is not audited:\n%s", log)
	}

	p.do(chromedp.Click(chromedp.CSS("#logout")), chromedp.WaitVisible(chromedp.CSS("#key")))
	if cookies := is[string](p, "document.cookie"); cookies != "" {
		t.Errorf("a script can read %q", cookies)
	}
}

// One number, asked for twice, and why the second was refused. It is shown nowhere.
func TestConsole_explains(t *testing.T) {
	const number = "+6581234567"
	s := start(t, "--policy", "testdata/policy.yaml", "--prices", "testdata/prices.csv", "--console", "loopback")
	s.check(number)
	s.check(number)
	p := open(t, s.origin(), 1280, 860)
	p.live() // nobody had to log in
	p.do(chromedp.SendKeys(chromedp.CSS("#ex-number"), number), chromedp.SendKeys(chromedp.CSS("#ex-client"), "203.0.113.7"),
		chromedp.Click(chromedp.CSS("#explain button")), chromedp.WaitVisible(chromedp.CSS("#explained")))
	for _, want := range []string{"It would be denied now: Limit number-minute; it fits in", "+65****67, Singapore, mobile", "1 of 1 in 60 s", "What was decided about this number lately"} {
		p.has(want)
	}
	if rows := is[int](p, `document.querySelectorAll('#explained table:last-of-type tbody tr').length`); rows != 2 {
		t.Errorf("%d earlier decisions are told, want 2", rows)
	}
	p.axe("explained")
	is[bool](p, `document.getElementById('explain-section').scrollIntoView(), true`)
	p.shoot("console-explain")
	if page := is[string](p, `document.documentElement.outerHTML + [...document.querySelectorAll('input')].map((i) => i.value).join(' ')`); manyDigitsOf(number).MatchString(page) {
		t.Error("the number is on the page")
	}
	p.excused = regexp.MustCompile(`400 .*/console/explain`)
	p.do(chromedp.SendKeys(chromedp.CSS("#ex-number"), "12"), chromedp.Click(chromedp.CSS("#explain button")), chromedp.WaitVisible(chromedp.CSS("#explain-error")))
	p.has("number: ")
}

// manyDigitsOf finds a number in any of its spellings.
func manyDigitsOf(number string) *regexp.Regexp {
	return regexp.MustCompile(strings.Join(strings.Split(strings.TrimPrefix(number, "+65"), ""), `[ -]?`))
}

// A sidecar that comes back is found again, without a new login, and told apart from one that hangs.
func TestConsole_restart(t *testing.T) {
	s := start(t, priced...)
	p := open(t, s.origin(), 1280, 860)
	p.excused = regexp.MustCompile(`ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE`)
	p.login(s.key())
	s.stop()
	p.until(`document.getElementById('link').textContent === 'Reconnecting'`)
	s.start()
	p.live()
	s.simulate(attack...)
	p.until(`Number(document.querySelector('#tiles dd').textContent.replace(',', '')) > 5`)

	// Its key is taken away: the page is told so, and nothing more.
	file := s.keyFile()
	if err := os.WriteFile(file, []byte("sgk_another-key-of-somebody-else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.until(`!document.getElementById('login').hidden`)
	p.excused = regexp.MustCompile(p.excused.String() + `|401 .*/console/events`)
	if p.until(`document.getElementById('board').hidden`); strings.Contains(p.says(), "Checks a second") {
		t.Error("the board is still shown")
	}
}

// A phone of 360 pixels shows all of it, without scrolling aside.
func TestConsole_phone(t *testing.T) {
	s := start(t, append([]string{"--console", "loopback"}, priced...)...)
	p := open(t, s.origin(), 360, 780)
	p.live()
	s.simulate(attack...)
	p.until(pumped)
	if wide := is[[]string](p, `[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('svg, .uplot, .unseen')).map((e) => e.tagName + '#' + e.id + '.' + e.className)`); len(wide) > 0 {
		t.Errorf("beyond the edge: %q", wide)
	}
	if small := is[[]string](p, `[...document.querySelectorAll('button, select, input')].filter((e) => e.offsetHeight && e.offsetHeight < 24).map((e) => e.id || e.textContent)`); len(small) > 0 {
		t.Errorf("too small for a thumb: %q", small)
	}
	p.axe("phone")
	p.settle()
	p.shoot("console-phone")
}

// The page by keyboard alone, dark and light.
func TestConsole_keyboardAndThemes(t *testing.T) {
	s := start(t, append([]string{"--console", "loopback"}, priced...)...)
	p := open(t, s.origin(), 1280, 860)
	p.live()
	s.simulate(attack...)
	p.until(pumped)
	p.until(`document.querySelectorAll('#blocks button').length > 0`)
	const focused = `document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent ?? ''`
	for i := 0; !strings.HasPrefix(is[string](p, focused), "Release "); i++ {
		if i == 40 {
			t.Fatal("40 tabs do not lead to a block")
		}
		p.do(chromedp.KeyEvent("\t"))
	}
	p.do(chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS("#release")))
	if at := is[string](p, `document.activeElement.id`); at != "release-reason" {
		t.Errorf("the focus is on %q, want the reason", at)
	}
	p.do(chromedp.KeyEvent("\x1b"), chromedp.WaitNotVisible(chromedp.CSS("#release")))
	if at := is[string](p, focused); !strings.HasPrefix(at, "Release ") {
		t.Errorf("the focus is on %q, want the button it came from", at)
	}
	for _, theme := range []string{"light", "dark"} {
		p.do(chromedp.Click(chromedp.CSS("#theme")))
		if got := is[string](p, `document.documentElement.dataset.theme`); got != theme {
			t.Fatalf("theme %q, want %q", got, theme)
		}
		p.axe(theme)
	}
	is[bool](p, `scrollTo(0, 0), true`)
	p.settle()
	p.shoot("console-dark")
}
