package envoyconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/policy"
)

// File is one configuration file.
type File struct {
	Name string
	Text []byte
}

// maxFile bounds a file, in bytes.
const maxFile = 16 << 20

// Parse reads files that hold a domain each. The error is a *policy.Error with everything that is wrong.
func Parse(files ...File) (*Config, error) {
	c := &Config{domains: make(map[string]*node)}
	var problems []policy.Problem
	for _, f := range files {
		r := &reader{file: f.Name, config: c}
		if n := r.load(f.Text); n != nil {
			r.root(n)
		}
		problems = append(problems, r.problems...)
	}
	if len(problems) > 0 {
		return nil, &policy.Error{Problems: problems}
	}
	return c, nil
}

// reader reads one file and collects what is wrong with it.
type reader struct {
	file     string
	config   *Config
	problems []policy.Problem
	count    int // of descriptors
}

// Bounds of a file: beyond them are aliases that repeat each other, or hold themselves.
const (
	maxDescriptors = 100_000
	maxDepth       = 32
)

func (r *reader) bad(n *yaml.Node, field, format string, args ...any) {
	r.problems = append(r.problems, policy.Problem{File: r.file, Line: n.Line, Column: n.Column, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) load(text []byte) *yaml.Node {
	first := &yaml.Node{Line: 1, Column: 1}
	if len(text) > maxFile {
		r.bad(first, "", "the file is larger than %d MiB", maxFile>>20)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		r.bad(first, "", "the YAML reader does not start: %v", err)
		return nil
	}
	var doc, next yaml.Node
	err = loader.Load(&doc)
	var where *yaml.LoadError
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		r.bad(first, "", "the file is empty: write a domain and its descriptors")
		return nil
	case errors.As(err, &where):
		r.bad(&yaml.Node{Line: max(1, where.Mark.Line), Column: max(1, where.Mark.Column)}, "", "this is not YAML: %s", where.Message)
		return nil
	case err != nil:
		r.bad(first, "", "this is not YAML: %v", err)
		return nil
	}
	if err := loader.Load(&next); !errors.Is(err, io.EOF) {
		r.bad(&next, "", "a second document begins here: write one domain in one file")
	}
	return doc.Content[0]
}

// keys reads a mapping. Keys that are not known, or stand twice, are problems.
func (r *reader) keys(n *yaml.Node, field string, known ...string) map[string]*yaml.Node {
	out := make(map[string]*yaml.Node)
	if n.Kind != yaml.MappingNode {
		r.bad(n, field, "this is not a mapping: write %s", strings.Join(known, ", "))
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, k.Value):
			r.bad(k, field, "unknown key %q: write %s", k.Value, strings.Join(known, ", "))
		case out[k.Value] != nil:
			r.bad(k, field, "key %q is written twice: keep one of them", k.Value)
		case v.Kind == yaml.AliasNode:
			out[k.Value] = v.Alias
		default:
			out[k.Value] = v
		}
	}
	return out
}

func (r *reader) root(n *yaml.Node) {
	keys := r.keys(n, "", "domain", "descriptors")
	domain := r.text(keys["domain"], "domain")
	switch {
	case domain == "":
		r.bad(n, "domain", "it is missing: write the domain that Envoy's filter has")
	case r.config.domains[domain] != nil:
		r.bad(keys["domain"], "domain", "another file has the domain %q: write it in one", domain)
	}
	at := newNode()
	r.descriptors(keys["descriptors"], "descriptors", domain, nil, at)
	r.config.domains[domain] = at
}

func (r *reader) descriptors(n *yaml.Node, field, path string, above []Entry, at *node) {
	if n == nil || isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		r.bad(n, field, "this is not a list: write descriptors with - before each")
		return
	}
	for i, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		r.descriptor(item, field+"["+strconv.Itoa(i)+"]", path, above, at)
	}
}

func (r *reader) descriptor(n *yaml.Node, field, path string, above []Entry, at *node) {
	if r.count++; r.count > maxDescriptors || strings.Count(field, "descriptors") > maxDepth {
		if r.count != maxDescriptors+2 { // said once
			r.bad(n, field, "more than %d descriptors or %d levels, or an alias that holds itself: write less", maxDescriptors, maxDepth)
			r.count = maxDescriptors + 1
		}
		return
	}
	keys := r.keys(n, field, "key", "value", "rate_limit", "descriptors", "shadow_mode", "quota_mode", "detailed_metric", "value_to_metric",
		"share_threshold", "metadata")
	d := &descriptor{entry: Entry{r.text(keys["key"], field+".key"), r.text(keys["value"], field+".value")}, below: newNode()}
	if d.entry.Key == "" {
		r.bad(n, field+".key", "it is missing: every descriptor has a key")
		return
	}
	path += "." + d.entry.Key
	way := append(above[:len(above):len(above)], d.entry)
	if d.entry.Value != "" {
		path += "_" + d.entry.Value
	}
	wild := strings.Contains(d.entry.Value, "*")
	if d.shared = r.truth(keys["share_threshold"], field+".share_threshold"); d.shared && !wild {
		r.bad(keys["share_threshold"], field+".share_threshold", "only values with a * share a limit: write such as files/*, or leave it out")
	}
	for _, name := range []string{"detailed_metric", "value_to_metric"} {
		r.truth(keys[name], field+"."+name)
	}
	shadow, quota := r.truth(keys["shadow_mode"], field+".shadow_mode"), r.truth(keys["quota_mode"], field+".quota_mode")
	if v := keys["rate_limit"]; v != nil && !isNull(v) {
		d.limit = r.limit(v, field+".rate_limit", path)
		d.limit.Shadow, d.limit.Quota, d.limit.Entries = shadow, quota, way
	}
	twice := false
	switch {
	case wild:
		twice = slices.ContainsFunc(at.wildcards, func(other *descriptor) bool { return other.entry == d.entry })
		d.parts = strings.Split(d.entry.Value, "*")
		at.wildcards = append(at.wildcards, d)
	case d.entry.Value == "":
		twice = at.anyValue[d.entry.Key] != nil
		at.anyValue[d.entry.Key] = d
	default:
		twice = at.exact[d.entry] != nil
		at.exact[d.entry] = d
	}
	if twice {
		r.bad(n, field, "the descriptor %s stands here twice: keep one of them", path)
	}
	r.descriptors(keys["descriptors"], field+".descriptors", path, way, d.below)
}

func (r *reader) limit(n *yaml.Node, field, path string) *Limit {
	l := &Limit{Path: path}
	r.config.limits = append(r.config.limits, l)
	keys := r.keys(n, field, "unit", "requests_per_unit", "unlimited", "name", "replaces")
	l.Unlimited, l.Name = r.truth(keys["unlimited"], field+".unlimited"), r.text(keys["name"], field+".name")
	l.Unit = Unit(strings.ToUpper(r.text(keys["unit"], field+".unit")))
	switch valid := l.Unit.Window() > 0; {
	case l.Unlimited && valid:
		r.bad(n, field+".unit", "what is unlimited has no unit: leave one of them out")
	case !l.Unlimited && !valid:
		r.bad(n, field+".unit", "%q is not a unit: write second, minute, hour, day, week, month or year", strings.ToLower(string(l.Unit)))
	}
	if v := keys["requests_per_unit"]; v != nil && !isNull(v) {
		count, err := strconv.ParseInt(v.Value, 0, 64)
		if err != nil || count < 0 || count > maxRequests {
			r.bad(v, field+".requests_per_unit", "%q is not a number from 0 to %d", v.Value, int64(maxRequests))
		}
		l.RequestsPerUnit = count
	}
	if v := keys["replaces"]; v != nil && v.Kind == yaml.SequenceNode {
		for _, item := range v.Content {
			name := r.text(r.keys(item, field+".replaces", "name")["name"], field+".replaces")
			switch {
			case name == "":
				r.bad(item, field+".replaces", "it names nothing: write - name: NAME")
			case name == l.Name:
				r.bad(item, field+".replaces", "a limit cannot replace itself: write the name of another")
			}
			l.Replaces = append(l.Replaces, name)
		}
	} else if v != nil && !isNull(v) {
		r.bad(v, field+".replaces", "this is not a list: write - name: NAME")
	}
	return l
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (r *reader) text(n *yaml.Node, field string) string {
	switch {
	case n == nil || isNull(n):
		return ""
	case n.Kind != yaml.ScalarNode:
		r.bad(n, field, "this is not text: write one value")
		return ""
	}
	return n.Value
}

func (r *reader) truth(n *yaml.Node, field string) bool {
	switch text := r.text(n, field); strings.ToLower(text) {
	case "", "false", "no", "off":
		return false
	case "true", "yes", "on":
		return true
	default:
		r.bad(n, field, "%q is not true or false", text)
		return false
	}
}
