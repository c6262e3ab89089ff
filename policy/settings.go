package policy

import (
	"bytes"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Settings reads a flat mapping, such as the file that `sendgate serve --config` takes, as strictly as a policy: one of the
// known keys a line, each with one plain value, none twice. A file without anything but comments sets nothing.
func Settings(name string, src []byte, known []string) (map[string]string, error) {
	settings := make(map[string]string)
	if !saysSomething(src) {
		return settings, nil
	}
	d := newDecoder(name)
	if n := d.document(src); n != nil && d.plain(n, "", yaml.MappingNode, "one setting a line, such as "+known[0]+": VALUE") {
		d.keys(n, "")
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, v := n.Content[i], n.Content[i+1]
			switch {
			case !slices.Contains(known, key.Value):
				d.bad(key, "", "unknown key %s%s", quote(key.Value), remedy(key.Value, known))
			case d.plain(v, key.Value, yaml.ScalarNode, "a value"):
				settings[key.Value] = v.Value
			}
		}
	}
	if len(d.problems) > 0 {
		return nil, &Error{Problems: sortProblems(d.problems)}
	}
	return settings, nil
}

func saysSomething(src []byte) bool {
	for line := range bytes.Lines(src) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return true
		}
	}
	return false
}
