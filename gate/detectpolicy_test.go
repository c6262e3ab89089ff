package gate

import (
	"testing"
	"time"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/policy"
)

func TestDetectPolicy(t *testing.T) {
	p, err := policy.Parse("test.yaml", []byte(`
version: 1
limits: [{name: one, by: [number], limit: 1, window: 1m}]
detect:
  level: max
  ait_range: {on_signal: challenge, block: {first: 10m, factor: 3, max: 1h}}
  load_test: {mode: off}
  deny_at_most: 2%
  expected: [{country: KE, sessions: 5000, from: 2026-03-02T06:00:00Z, until: 2026-03-04T06:00:00Z}]
accounts:
  acme: {detect: {level: observe}}
  globex: {detect: {ait_range: {mode: shadow}}}
  initech: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	d := detectPolicy(p)
	if d.Level != detect.LevelMax || d.DenyCap != .02 || d.Kinds[detect.LoadTest].Mode != detect.Disabled {
		t.Errorf("got %+v", d)
	}
	if k := d.Kinds[detect.AITRange]; k.AtMost != detect.Challenge || k.Block != (detect.BlockSpan{First: 10 * time.Minute, Factor: 3, Max: time.Hour}) {
		t.Errorf("ait_range %+v", k)
	}
	if k := d.Kinds[detect.VictimFlood]; k.Mode != detect.Enforce || k.AtMost != detect.Allow || k.Block != (detect.BlockSpan{First: 5 * time.Minute, Factor: 2, Max: 12 * time.Hour}) {
		t.Errorf("victim_flood %+v", k)
	}
	from := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	if len(d.Expected) != 1 || d.Expected[0] != (detect.Expected{Country: detect.CountryOf("KE"), Sessions: 5000, From: from.UnixNano(), Until: from.Add(48 * time.Hour).UnixNano()}) {
		t.Errorf("expected %+v", d.Expected)
	}
	if len(d.Accounts) != 1 || d.Accounts[nameHash("acme")] != detect.LevelObserve {
		t.Errorf("levels of accounts %v", d.Accounts)
	}
	if len(d.Overrides) != 1 || d.Overrides[nameHash("globex")] == nil || d.Overrides[nameHash("globex")][detect.AITRange].Mode != detect.Shadow {
		t.Errorf("detectors of accounts %v", d.Overrides)
	}
	engine, err := detect.New(detect.Options{Size: detect.MinSize, Policy: d})
	if err != nil {
		t.Fatal("the engine refuses what a policy may say:", err)
	}
	engine.Close()
}

func TestLooksUp(t *testing.T) {
	for endpoint, want := range map[string]bool{"login": true, "/v1/password-reset": true, "sign-in": true, "signup": false, "": false, "codes": false} {
		if looksUp(endpoint) != want {
			t.Errorf("%q: %v, want %v", endpoint, !want, want)
		}
	}
}
