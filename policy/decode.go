package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// field is one key of a mapping. The tables of fields in schema.go are read twice: by the decoder and by [Reference].
type field struct {
	name    string
	value   value
	initial string // what stands when the key is left out: a plain value, {} or []; empty: nothing; or required
	meaning string
}

const required = "(required)"

// value says how a node is read and, in words, what may stand there.
type value struct {
	kind   string // "duration"
	bounds string // "1ms to 366d"
	read   func(d *decoder, n *yaml.Node, path string)
	check  func(text string) error // of a plain value: what is wrong with an unquoted text
	fields []field                 // of a mapping, or of the mappings in it
	item   string                  // how a path goes on to those mappings: "" for a mapping, "[]" for a list, ".NAME" for names
}

// decoder reads one file and collects what is wrong with it.
type decoder struct {
	file     string
	problems []Problem
	// at remembers where each path stands, for what can only be judged when all is read.
	at map[string]*yaml.Node
	// src is the file, for places within a value.
	src []byte
	// sendEnv is what conditions are compiled in, requestEnv the expressions of profiles.
	sendEnv, requestEnv *lazyEnv
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, at: make(map[string]*yaml.Node), sendEnv: new(lazyEnv), requestEnv: new(lazyEnv)}
}

// bad notes a problem.
func (d *decoder) bad(n *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: n.Line, Column: n.Column, Field: maskDigits(path), Message: fmt.Sprintf(format, args...)})
}

// badAt is bad for a path that was read before; where the key itself is not written, its nearest parent is named.
func (d *decoder) badAt(path, format string, args ...any) {
	for at := path; ; {
		if n, ok := d.at[at]; ok {
			d.bad(n, path, format, args...)
			return
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			d.bad(&yaml.Node{Line: 1, Column: 1}, path, format, args...)
			return
		}
		at = at[:cut]
	}
}

// document loads the one document of a file. It returns nil after it has noted why not.
func (d *decoder) document(src []byte) *yaml.Node {
	d.src = src
	first := &yaml.Node{Line: 1, Column: 1}
	if len(src) > maxFile {
		d.bad(first, "", "the file is larger than %d MiB: keep long lists in the data directory (admin API)", maxFile>>20)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(src))
	if err != nil {
		d.bad(first, "", "the YAML reader does not start: %v", err)
		return nil
	}
	var doc, next yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF), err == nil && (len(doc.Content) == 0 || isNull(doc.Content[0])):
		d.bad(first, "", "the file is empty: write at least version: 1")
		return nil
	case err != nil:
		d.syntax(src, err)
		return nil
	}
	switch err := loader.Load(&next); {
	case err == nil:
		d.bad(&next, "", "a second document begins here: write one policy in one file")
	case !errors.Is(err, io.EOF):
		d.syntax(src, err)
	}
	return doc.Content[0]
}

// syntax notes what the YAML reader could not read. It stops at the first error, so this is the only problem there is.
func (d *decoder) syntax(src []byte, err error) {
	at, message := &yaml.Node{Line: 1, Column: 1}, err.Error()
	var load *yaml.LoadError
	if errors.As(err, &load) {
		message = load.Message
		if load.Mark.Line > 0 {
			at = &yaml.Node{Line: load.Mark.Line, Column: load.Mark.Column}
		}
	}
	lines := bytes.Split(src, []byte("\n"))
	if at.Line <= len(lines) {
		line := lines[at.Line-1]
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
			at.Column = tab + 1
			d.bad(at, "", "a tab indents this line: write spaces")
			return
		}
	}
	d.bad(at, "", "this is not YAML: %s: check quotes, brackets and indentation", maskDigits(message))
}

// plain reports whether a node is of a kind, and without the parts of YAML that a policy does not use.
func (d *decoder) plain(n *yaml.Node, path string, kind yaml.Kind, want string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.bad(n, path, "anchors and aliases are not supported: write the value out")
		return false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad(n, path, "tags are not supported: write the value without %s", quote(n.Tag))
		return false
	}
	if isNull(n) {
		d.bad(n, path, "there is no value: write %s", want)
		return false
	}
	if n.Kind != kind {
		d.bad(n, path, "this is %s: write %s", kindName(n), want)
		return false
	}
	return true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "the value " + quote(n.Value)
}

// object reads a mapping with these keys. Keys are read in the order of the table, whatever their order in the file.
func object(fields []field) value {
	return value{kind: "mapping", fields: fields, read: func(d *decoder, n *yaml.Node, path string) {
		d.object(n, path, fields, false)
	}}
}

// object reads a mapping. With partial, keys that are left out keep what their target holds.
func (d *decoder) object(n *yaml.Node, path string, fields []field, partial bool) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if !d.plain(n, path, yaml.MappingNode, "a mapping with "+list(names)) {
		return
	}
	if n.Line > 0 {
		d.at[path] = n
	}
	written := d.keys(n, path)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && !slices.Contains(names, k.Value) {
			d.bad(k, path, "unknown key %s%s", quote(k.Value), remedy(k.Value, names))
		}
	}
	for _, f := range fields {
		under := join(path, f.name)
		switch v := written[f.name]; {
		case v != nil && isNull(v) && f.initial != required:
			d.bad(v, under, "there is no value: write %s, or leave the key out", f.value.words())
		case v != nil:
			d.at[under] = v
			f.value.read(d, v, under)
		case partial:
		case f.initial == required:
			d.bad(n, under, "it is missing: write %s: %s", f.name, f.value.words())
		case f.initial != "":
			f.value.read(d, initialNode(f.initial), under)
		}
	}
}

// keys returns the values of a mapping by key, and notes keys that are written twice or are no words.
func (d *decoder) keys(n *yaml.Node, path string) map[string]*yaml.Node {
	out := make(map[string]*yaml.Node, len(n.Content)/2)
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if !d.plain(k, path, yaml.ScalarNode, "one word as the key") {
			continue
		}
		if line, twice := first[k.Value]; twice {
			d.bad(k, path, "key %s is written twice, first in line %d: keep one of them", quote(k.Value), line)
			continue
		}
		first[k.Value], out[k.Value] = k.Line, n.Content[i+1]
	}
	return out
}

// initialNode turns a default of the schema into the node that a file would have, but for its place.
func initialNode(text string) *yaml.Node {
	switch text {
	case "{}":
		return &yaml.Node{Kind: yaml.MappingNode}
	case "[]":
		return &yaml.Node{Kind: yaml.SequenceNode}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// words is what to write, for messages.
func (v value) words() string {
	article := "a "
	if strings.ContainsRune("aeiou", rune(v.kind[0])) {
		article = "an "
	}
	switch {
	case v.bounds == "":
		return article + v.kind
	case v.bounds[0] >= '0' && v.bounds[0] <= '9':
		return article + v.kind + " of " + v.bounds
	}
	return v.bounds
}

// listOf reads a list.
func listOf[T any](dst *[]T, one func(*T) value) value {
	v := one(new(T))
	return value{kind: v.kind + " list", bounds: v.bounds, fields: v.fields, read: func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.SequenceNode, "a list, such as [...]") {
			return
		}
		*dst = make([]T, len(n.Content))
		for i, item := range n.Content {
			at := element(path, i)
			d.at[at] = item
			one(&(*dst)[i]).read(d, item, at)
		}
	}}
}

// oneOrMore reads a value or a list of them.
func oneOrMore[T comparable](dst *[]T, one func(*T) value) value {
	v, many := one(new(T)), listOf(dst, one)
	return value{kind: v.kind + " or list", bounds: v.bounds, read: func(d *decoder, n *yaml.Node, path string) {
		before := len(d.problems)
		if n.Kind == yaml.SequenceNode {
			if many.read(d, n, path); len(n.Content) == 0 && len(d.problems) == before {
				d.bad(n, path, "the list is empty: write %s", v.words())
			}
		} else {
			*dst = make([]T, 1)
			v := one(&(*dst)[0])
			v.read(d, n, path)
		}
		if len(d.problems) > before {
			return
		}
		seen := make(map[T]bool, len(*dst))
		for _, x := range *dst {
			if seen[x] {
				d.bad(n, path, "%s stands here twice: keep one of them", quote(fmt.Sprint(x)))
			}
			seen[x] = true
		}
	}}
}

// mapOf reads a mapping whose keys are names that key accepts. The item says what they are: ".NAME".
func mapOf[T any](dst *map[string]*T, item string, key func(text string) error, one func(string, *T) value) value {
	v := one("", new(T))
	return value{kind: "mapping", bounds: v.bounds, fields: v.fields, item: item, read: func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.MappingNode, "a mapping of names") {
			return
		}
		written := d.keys(n, path)
		*dst = make(map[string]*T, len(written))
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			item, known := written[k.Value]
			if !known || item != n.Content[i+1] {
				continue // noted already
			}
			if err := key(k.Value); err != nil {
				d.bad(k, path, "%v", err)
				continue
			}
			under := join(path, k.Value)
			d.at[under] = item
			t := new(T)
			(*dst)[k.Value] = t
			one(k.Value, t).read(d, item, under)
		}
	}}
}

// scalar reads one plain value by a function that says what is wrong with the text.
func scalar(kind, bounds string, set func(text string, quoted bool) error) value {
	v := value{kind: kind, bounds: bounds, check: func(text string) error { return set(text, false) }}
	v.read = func(d *decoder, n *yaml.Node, path string) {
		if !d.plain(n, path, yaml.ScalarNode, v.words()) {
			return
		}
		if err := set(n.Value, n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0); err != nil {
			d.bad(n, path, "%v", err)
		}
	}
	return v
}

// word reads text that a pattern describes.
func word[T ~string](dst *T, kind, bounds string, pattern *regexp.Regexp) value {
	return scalar(kind, bounds, func(text string, _ bool) error {
		if !pattern.MatchString(text) {
			return fmt.Errorf("%s is not a %s: write %s", quote(text), kind, bounds)
		}
		*dst = T(text)
		return nil
	})
}

// choice reads one of some words.
func choice[T ~string](dst *T, words ...T) value {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	return scalar("word", list(names), func(text string, _ bool) error {
		if !slices.Contains(names, text) {
			return fmt.Errorf("unknown value %s%s", quote(text), remedy(text, names))
		}
		*dst = T(text)
		return nil
	})
}
