package consent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/consent"
)

func TestImport_tellsEveryLine(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{})
	var file strings.Builder
	file.WriteString("number,since\n+14155550123,\nnonsense,\n+14155550124,tomorrow\n")
	for range 200 {
		file.WriteString("+1,\n")
	}
	_, err := l.Import(ctx, noon, strings.NewReader(file.String()), consent.ImportOptions{})
	var wrong *consent.ImportError
	if !errors.As(err, &wrong) || len(wrong.Lines) != 100 || wrong.More != 102 || wrong.Lines[0].Line != 3 || wrong.Lines[1].Line != 4 || !strings.Contains(err.Error(), "line 4: since:") {
		t.Fatalf("%v", err)
	}
	if _, out := l.OptedOut(number(t, "+14155550123"), consent.Scope{}); out {
		t.Error("a line of a wrong file was taken")
	}
}

func TestImport_accepts(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{})
	elsewhere := func(account string) error {
		if account == "eu-shop" {
			return errors.New("stays in region eu")
		}
		return nil
	}
	_, err := l.Import(ctx, noon, strings.NewReader("number,account\n+14155550123,acme\n+14155550123,eu-shop\n"), consent.ImportOptions{Accepts: elsewhere})
	if err == nil || !strings.Contains(err.Error(), "line 3: stays in region eu") {
		t.Errorf("an account of another region: %v", err)
	}
}

func TestImport_onceAndTold(t *testing.T) {
	l := ledger(t, new(consent.Memory), consent.Rules{})
	var file strings.Builder
	file.WriteString("number,account\n")
	for i := range 40_000 {
		fmt.Fprintf(&file, "+1415%07d,acme\n", 5000000+i%20_000)
	}
	var told []consent.Imported
	done, err := l.Import(ctx, noon, strings.NewReader(file.String()), consent.ImportOptions{Told: func(i consent.Imported) { told = append(told, i) }})
	if want := (consent.Imported{Read: 40_000, Added: 20_000, Known: 20_000}); err != nil || done != want {
		t.Errorf("%+v, %v, want %+v", done, err, want)
	}
	if len(told) != 4 || told[0].Read != 16384 || told[3] != done { // two while reading, two while storing
		t.Errorf("told %+v", told)
	}
}

// cut is a store that breaks after so many changes were made together, as a full disk would.
type cut struct {
	consent.Store
	left int
}

func (c *cut) Apply(ctx context.Context, changes ...consent.Change) error {
	if c.left--; c.left < 0 {
		return errors.New("no space left")
	}
	return c.Store.Apply(ctx, changes...)
}

// An import that does not end leaves nothing, and takes nothing that a person said meanwhile.
func TestImport_allOrNothing(t *testing.T) {
	var file strings.Builder
	file.WriteString("number,account\n")
	for i := range 50_000 {
		fmt.Fprintf(&file, "+1415%07d,acme\n", 5000000+i)
	}
	early, stopped := number(t, "+14155000000"), number(t, "+14155000001")
	for chunks := range 4 { // the store takes so many of four, and then nothing, not even what would undo them
		store := new(consent.Memory)
		broken := &cut{store, 1 + 1 + chunks}
		l := ledger(t, broken, consent.Rules{})
		_, err := l.OptOut(ctx, early, consent.Record{At: noon, Account: "globex", Source: "api"})
		must(t, err)
		if _, err := l.Import(ctx, noon, strings.NewReader(file.String()), consent.ImportOptions{}); err == nil {
			t.Fatal("no error from a store that is full")
		}
		broken.left = 1
		_, err = l.OptOut(ctx, stopped, consent.Record{At: noon, Account: "acme", Source: "hand", Author: "ann"})
		must(t, err)
		again := ledger(t, store, consent.Rules{})
		r, err := again.Report(ctx)
		must(t, err)
		if r.Records["opt_out"] != 2 || r.Records["import"] != 0 {
			t.Errorf("after %d chunks %v are left, want 2 opt-outs", chunks, r.Records)
		}
	}
}
