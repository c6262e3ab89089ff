package identity_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/policy"
)

const (
	keyA = "sgk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	keyB = "sgk_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	keyC = "sgk_ccccccccccccccccccccccccccccccccccccccccccc"
)

// world is environment and files of a test.
type world map[string]string

func (w world) book(o identity.Options) *identity.Book {
	o.Getenv = func(name string) string { return w[name] }
	o.ReadFile = func(name string) ([]byte, error) {
		if text, ok := w[name]; ok {
			return []byte(text), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return identity.New(o)
}

func accounts(t testing.TB, yaml string) map[string]*policy.Account {
	t.Helper()
	p, err := policy.Parse("test.yaml", []byte("version: 1\naccounts: "+yaml))
	if err != nil {
		t.Fatal(err)
	}
	return p.Accounts
}

func TestKeys(t *testing.T) {
	a, b := identity.NewKey(), identity.NewKey()
	if a == b || identity.CheckKey(a) != nil || !strings.HasPrefix(a, "sgk_") {
		t.Errorf("new keys %q and %q", a, b)
	}
	for key, ok := range map[string]bool{
		keyA: true, "0123456789abcde": false, "0123456789abcdef": true, strings.Repeat("x", 256): true, strings.Repeat("x", 257): false,
		"0123456789 abcdef": false, "0123456789abcdé0": false, "0123456789abcd==": true, "================": false, "0123456789=abcdef": false,
	} {
		if err := identity.CheckKey(key); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", key, err, ok)
		} else if err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestParseAuthorization(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		key   string
		err   error
	}{
		{nil, "", identity.ErrNoKey},
		{[]string{"Bearer " + keyA}, keyA, nil},
		{[]string{"bEARER   " + keyA}, keyA, nil},
		{[]string{""}, "", identity.ErrMalformed},
		{[]string{"Bearer"}, "", identity.ErrMalformed},
		{[]string{"Bearer "}, "", identity.ErrMalformed},
		{[]string{keyA}, "", identity.ErrMalformed},
		{[]string{"Basic " + keyA}, "", identity.ErrMalformed},
		{[]string{" Bearer " + keyA}, "", identity.ErrMalformed},
		{[]string{"Bearer " + keyA + " "}, "", identity.ErrMalformed},
		{[]string{"Bearer " + keyA + ", Bearer " + keyB}, "", identity.ErrMalformed},
		{[]string{"Bearer\t" + keyA}, "", identity.ErrMalformed},
		{[]string{"Bearer " + keyA, "Bearer " + keyA}, "", identity.ErrMalformed},
		{[]string{"Bearer " + strings.Repeat("x", 300)}, "", identity.ErrMalformed},
	} {
		if key, err := identity.ParseAuthorization(tt.lines); key != tt.key || err != tt.err {
			t.Errorf("%q: %q, %v, want %q, %v", tt.lines, key, err, tt.key, tt.err)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("Bearer "+keyA, "", false)
	f.Add("bearer  0123456789abcdef==", "Bearer x", true)
	f.Add("Basic YTpi", "", false)
	f.Add("Bearer \x00\xff", "", false)
	f.Fuzz(func(t *testing.T, first, second string, two bool) {
		lines := []string{first}
		if two {
			lines = append(lines, second)
		}
		key, err := identity.ParseAuthorization(lines)
		switch {
		case err != nil && key != "", err == nil && two, err == nil && identity.CheckKey(key) != nil:
			t.Errorf("%q: %q, %v", lines, key, err)
		case err == nil && (!strings.HasSuffix(first, key) || !strings.EqualFold(strings.TrimRight(strings.TrimSuffix(first, key), " "), "bearer")):
			t.Errorf("%q: %q", lines, key)
		}
	})
}

func TestBook_keysComeAndGo(t *testing.T) {
	w := world{"A_KEY": keyA, "keys": "# two\n\n  " + keyB + "  \r\n", "admins": "alice " + keyC + "\n"}
	b := w.book(identity.Options{AdminKeyEnv: "ADMIN", AdminKeyFile: "admins"})
	acc := accounts(t, `{a: {keys_from_env: A_KEY}, b: {keys_from_file: keys, keys: ["`+identity.HashKey("0123456789abcdef")+`"]}, c: {}}`)
	if b.Asked() {
		t.Error("asked before anything is known")
	}
	load(t, b, acc, true)
	load(t, b, acc, false)
	owners := map[string]identity.Owner{keyA: {Account: "a"}, keyB: {Account: "b"}, "0123456789abcdef": {Account: "b"}, keyC: {Admin: true, Name: "alice"}}
	check := func(gone ...string) {
		t.Helper()
		for key, want := range owners {
			got, ok := b.Key(key)
			for _, g := range gone {
				if g == key {
					want = identity.Owner{}
				}
			}
			if got != want || ok != (want != identity.Owner{}) {
				t.Errorf("%.8s...: %v %v, want %v", key, got, ok, want)
			}
		}
	}
	check()
	if got := strings.Join(b.Files(acc), " "); got != "keys admins" {
		t.Errorf("files %s", got)
	}

	before := b.Version()
	w["keys"] = "" // its last key is gone, and nobody is let in for it
	load(t, b, acc, true)
	check(keyB)
	if !b.Asked() || b.Version() == before {
		t.Error("not asked any more, or nothing new")
	}
	delete(w, "keys") // unreadable: what was known stays
	if _, err := b.Load(acc); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	check(keyB)
	load(t, b, accounts(t, `{a: {keys_from_env: A_KEY}}`), true)
	check(keyB, "0123456789abcdef")
	load(t, b, nil, true)
	check(keyA, keyB, "0123456789abcdef")
	if b.Asked() {
		t.Error("asked, though no account has a key: operators have")
	}
}

func load(t *testing.T, b *identity.Book, acc map[string]*policy.Account, change bool) {
	t.Helper()
	if changed, err := b.Load(acc); err != nil || changed != change {
		t.Errorf("changed %v, %v, want %v", changed, err, change)
	}
}

func TestBook_errorsTellAllAndNoKey(t *testing.T) {
	w := world{"A_KEY": "too-short-secret"[:12], "keys": keyB + "\nbad key with spaces\n" + keyC + "\n", "more": keyB, "third": keyB, "admins": keyC + "\na b c\n"}
	b := w.book(identity.Options{AdminKeyFile: "admins", AdminIdentities: []string{"nonsense", "spiffe://x/a"}})
	_, err := b.Load(accounts(t, `{a: {keys_from_env: [A_KEY, B_KEY], identities: ["spiffe://x/a"]}, b: {keys_from_file: [keys, more, nowhere]}, c: {keys_from_file: third}}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"accounts.a.keys_from_env: A_KEY: a key of 12 characters",
		"accounts.a.keys_from_env: the environment variable B_KEY is not set",
		"accounts.b.keys_from_file: keys:2: a key has letters, digits",
		"nowhere",
		"accounts.c.keys_from_file: third:1: this key is also that of account b",
		"admin key file: admins:1: this key is also that of account b",
		"admin key file: admins:2: write a key, or a name and a key",
		`admin identity: "nonsense" is not an identity`,
		"admin identity: spiffe://x/a is also that of account a",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s", want)
		}
	}
	for _, secret := range []string{w["A_KEY"], keyB, keyC, "spaces"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a key: %v", err)
		}
	}
}

func TestBook_certificates(t *testing.T) {
	b := world{}.book(identity.Options{AdminIdentities: []string{"spiffe://example.org/ops"}})
	load(t, b, accounts(t, `{a: {identities: ["spiffe://example.org/billing", "CN=billing,O=Acme"]}, b: {identities: ["CN=billing"]}}`), true)
	uri := func(texts ...string) (out []*url.URL) {
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, u)
		}
		return out
	}
	cn, o := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}
	subject := func(parts ...pkix.AttributeTypeAndValue) pkix.Name { return pkix.Name{Names: parts} }
	for name, tt := range map[string]struct {
		cert x509.Certificate
		want identity.Owner
	}{
		"spiffe":                  {x509.Certificate{URIs: uri("spiffe://example.org/billing")}, identity.Owner{Account: "a"}},
		"operator":                {x509.Certificate{URIs: uri("spiffe://example.org/ops")}, identity.Owner{Admin: true, Name: "spiffe://example.org/ops"}},
		"another":                 {x509.Certificate{URIs: uri("spiffe://example.org/billing/x")}, identity.Owner{}},
		"two URIs":                {x509.Certificate{URIs: uri("spiffe://example.org/billing", "spiffe://example.org/ops")}, identity.Owner{}},
		"https":                   {x509.Certificate{URIs: uri("https://example.org/billing")}, identity.Owner{}},
		"subject":                 {x509.Certificate{Subject: subject(pkix.AttributeTypeAndValue{Type: o, Value: "Acme"}, pkix.AttributeTypeAndValue{Type: cn, Value: "billing"})}, identity.Owner{Account: "a"}},
		"part of a subject":       {x509.Certificate{Subject: subject(pkix.AttributeTypeAndValue{Type: cn, Value: "billing"})}, identity.Owner{Account: "b"}},
		"more than a subject":     {x509.Certificate{Subject: subject(pkix.AttributeTypeAndValue{Type: cn, Value: "billing"}, pkix.AttributeTypeAndValue{Type: o, Value: "Evil"})}, identity.Owner{}},
		"a value as two":          {x509.Certificate{Subject: subject(pkix.AttributeTypeAndValue{Type: cn, Value: "billing,O=Acme"})}, identity.Owner{}},
		"nothing":                 {x509.Certificate{}, identity.Owner{}},
		"DNS names do not count":  {x509.Certificate{DNSNames: []string{"billing"}}, identity.Owner{}},
		"unknown URI, by subject": {x509.Certificate{URIs: uri("spiffe://example.org/new"), Subject: subject(pkix.AttributeTypeAndValue{Type: cn, Value: "billing"})}, identity.Owner{Account: "b"}},
	} {
		if got, ok := b.Certificate(&tt.cert); got != tt.want || ok != (tt.want != identity.Owner{}) {
			t.Errorf("%s: %v %v, want %v", name, got, ok, tt.want)
		}
	}
}
