package envoyconfig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sendgate/sendgate/policy/envoyconfig"
)

// entries reads a=1,b=2.
func entries(text string) []envoyconfig.Entry {
	var out []envoyconfig.Entry
	for pair := range strings.SplitSeq(text, ",") {
		k, v, _ := strings.Cut(pair, "=")
		out = append(out, envoyconfig.Entry{Key: k, Value: v})
	}
	return out
}

// The examples of that service's README, and of its own example configuration, find what it says they find.
func TestFind(t *testing.T) {
	src, err := os.ReadFile("testdata/readme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	configs := make(map[string]*envoyconfig.Config)
	for part := range strings.SplitSeq(string(src), "---\n") {
		c, err := envoyconfig.Parse(envoyconfig.File{Name: "readme.yaml", Text: []byte(part)})
		if err != nil {
			t.Fatal(err)
		}
		for domain := range c.Domains() {
			configs[domain] = c
		}
	}
	for _, tt := range []struct{ domain, descriptor, want string }{
		{"mongo_cps", "database=users", "500 SECOND"},
		{"mongo_cps", "database=other", "none"},
		{"messaging", "message_type=marketing,to_number=2061111111", "5 DAY"},
		{"messaging", "to_number=2061111111", "100 DAY"},
		{"messaging", "message_type=marketing", "none"},
		{"edge_proxy_per_ip", "remote_address=50.0.0.1", "10 SECOND"},
		{"edge_proxy_per_ip", "remote_address=50.0.0.5", "0 SECOND"},
		{"example4", "key=value,subkey=subvalue", "none"},
		{"example4", "key=value", "300 SECOND"},
		{"internal", "ldap=x", "unlimited"},
		{"internal", "azure=x", "100 MINUTE"},
		{"example6", "service=auth-service,user=user-a", "10 SECOND shadow"},
		{"example6", "service=auth-service,user=user-b", "20 SECOND"},
		{"example7", "key_2=value_2,user=bkthomps", "10 SECOND replaces [specific_limit]"},
		{"example9", "key1=valueXYZ", "20 MINUTE"},
		{"example9", "path=/api/123/action", "21 MINUTE"},
		{"example9", "path=/api/123/other", "none"},
		{"example9", "route=/api/v1/resource/123/action", "22 MINUTE"},
		{"example11", "files=files/a.pdf", "10 HOUR as files=files/*"},
		{"example11", "files_no_share=files_no_share/a", "10 HOUR"},
		{"unknown", "a=b", "none"},
	} {
		c := configs[tt.domain]
		if c == nil {
			c = configs["messaging"]
		}
		l, counter := c.Find(tt.domain, entries(tt.descriptor))
		got := "none"
		if l != nil {
			got = fmt.Sprint(l.RequestsPerUnit, " ", l.Unit)
			if l.Unlimited {
				got = "unlimited"
			}
			if l.Shadow {
				got += " shadow"
			}
			if len(l.Replaces) > 0 {
				got += fmt.Sprint(" replaces ", l.Replaces)
			}
			if counter[0] != entries(tt.descriptor)[0] {
				got += " as " + counter[0].Key + "=" + counter[0].Value
			}
		}
		if got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.domain, tt.descriptor, got, tt.want)
		}
	}
}

// Every configuration that the peer ships is read, or refused, as the peer does.
func TestParse_thePeersOwnFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/peer/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = envoyconfig.Parse(envoyconfig.File{Name: filepath.Base(file), Text: text})
		good := map[string]bool{"basic_config.yaml": true, "share_threshold.yaml": true, "wildcard.yaml": true, "shadowmode_config.yaml": true,
			"metadata.yaml": true, "example.yaml": true, "config.yaml": true}[filepath.Base(file)]
		if (err == nil) != good {
			t.Errorf("%s: %v", file, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), filepath.Base(file)+":") {
			t.Errorf("%s: the error names no place: %v", file, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("domain: a\ndescriptors:\n- {key: b, value: c*, rate_limit: {unit: day, requests_per_unit: 5}}\n"))
	f.Add([]byte("domain: [\n"))
	f.Add([]byte("a: &a [*a]\ndomain: *a\n"))
	f.Add([]byte("domain: a\ndescriptors: &a [{key: b, descriptors: *a}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := envoyconfig.Parse(envoyconfig.File{Name: "x", Text: text}); err == nil {
			for domain := range c.Domains() {
				c.Find(domain, entries("b=cd,e=f"))
			}
		}
	})
}
