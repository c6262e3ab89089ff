package extract

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Template is a method and a path with variables, such as "POST /v1/accounts/{account}/messages". The zero Template matches
// nothing.
type Template struct {
	method   string // "" for any
	segments []string
}

var (
	methodPattern   = regexp.MustCompile(`^[A-Z]{1,16}$`)
	variablePattern = regexp.MustCompile(`^\{[A-Za-z_][A-Za-z0-9_]{0,63}\}$`)
	literalPattern  = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,=:@%-]*$`)
)

// ParseTemplate reads a template. The method ANY stands for every method.
func ParseTemplate(text string) (Template, error) {
	method, target, ok := strings.Cut(text, " ")
	if !ok || !methodPattern.MatchString(method) || !strings.HasPrefix(target, "/") || len(text) > 1024 {
		return Template{}, fmt.Errorf("%q is not a method and a path: write such as POST /v1/accounts/{account}/messages, or ANY for every method", text)
	}
	t := Template{method: method, segments: strings.Split(target[1:], "/")}
	if method == "ANY" {
		t.method = ""
	}
	seen := make(map[string]bool)
	for _, s := range t.segments {
		switch {
		case variablePattern.MatchString(s):
			if seen[s] {
				return Template{}, fmt.Errorf("%q: the variable %s stands twice", text, s)
			}
			seen[s] = true
		case !literalPattern.MatchString(s), s == ".", s == "..":
			return Template{}, fmt.Errorf("%q: a part of a path is either plain text or one variable such as {account}", text)
		}
	}
	return t, nil
}

// String is the template as it was written.
func (t Template) String() string {
	method := t.method
	if method == "" {
		method = "ANY"
	}
	return method + " /" + strings.Join(t.segments, "/")
}

// MarshalText is String.
func (t Template) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Variables is how many variables the template has.
func (t Template) Variables() int {
	n := 0
	for _, s := range t.segments {
		if strings.HasPrefix(s, "{") {
			n++
		}
	}
	return n
}

// Has says that the template has a variable of this name.
func (t Template) Has(variable string) bool {
	for _, s := range t.segments {
		if s == "{"+variable+"}" {
			return true
		}
	}
	return false
}

// match compares with a target (path and query) as it is on the wire: no case folded, no slash merged, nothing decoded but what a
// variable holds. Other spellings that the application takes for the same path are for the proxy to normalise, or to route.
func (t Template) match(method, target string) (map[string]string, bool) {
	if len(t.segments) == 0 || t.method != "" && t.method != method {
		return nil, false
	}
	target, _, _ = strings.Cut(target, "?")
	if !strings.HasPrefix(target, "/") {
		return nil, false
	}
	parts := strings.Split(target[1:], "/")
	if len(parts) != len(t.segments) {
		return nil, false
	}
	var variables map[string]string
	for i, s := range t.segments {
		if !strings.HasPrefix(s, "{") {
			if s != parts[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(parts[i])
		if err != nil || value == "" || value == "." || value == ".." || strings.ContainsAny(value, "/\\;\x00") {
			return nil, false
		}
		if variables == nil {
			variables = make(map[string]string)
		}
		variables[s[1:len(s)-1]] = value
	}
	return variables, true
}
