package extract

import (
	"fmt"
	"slices"
	"strings"
)

// Selector says where in a request a value stands. The zero Selector is none.
type Selector struct {
	text   string
	source source
	name   string   // of a header, parameter, variable or fixed value; for metadata the whole path
	steps  []string // of body.json: names, and "*" for every element of a list
	find   Finder   // of computed
}

// Finder computes the values of a selector: one, or, with many, one for each number that is found in the same order.
type Finder func(*Reading) (values []string, many bool, fault Fault)

// Computed is a selector whose value no place holds: what find makes of a request. The text is for people.
func Computed(text string, find Finder) Selector {
	return Selector{text: text, source: computed, find: find}
}

type source uint8

const (
	_ source = iota
	fixed
	header
	path
	query
	bodyJSON
	bodyForm
	metadata
	routeMetadata
	contextExtension
	grpcMetadata
	peer
	computed
)

// sources in the order of their description. None is the beginning of another.
var sources = []struct {
	prefix string
	source source
}{
	{"body.json.", bodyJSON}, {"body.form.", bodyForm}, {"header.", header}, {"path.", path}, {"query.", query},
	{"metadata.", metadata}, {"route_metadata.", routeMetadata}, {"context.", contextExtension}, {"grpc.", grpcMetadata},
	{"peer.", peer}, {"value.", fixed},
}

const maxSelector = 256

// Bounds is what a selector looks like, in words.
const Bounds = "a selector: body.json.FIELD, body.form.FIELD, header.NAME, path.VARIABLE, query.NAME, metadata.NAMESPACE.FIELD, " +
	"route_metadata.NAMESPACE.FIELD, context.KEY, grpc.NAME, peer.address, peer.principal or value.TEXT"

// ParseSelector reads a selector. The error says what to write instead.
func ParseSelector(text string) (Selector, error) {
	s := Selector{text: text}
	if len(text) > maxSelector {
		return Selector{}, fmt.Errorf("a selector of more than %d bytes: write a shorter one", maxSelector)
	}
	for _, known := range sources {
		if name, ok := strings.CutPrefix(text, known.prefix); ok {
			s.source, s.name = known.source, name
		}
	}
	switch {
	case s.source == 0:
		return Selector{}, fmt.Errorf("%q is not a selector: write %s", text, Bounds)
	case s.name == "":
		return Selector{}, fmt.Errorf("%q names nothing: write what stands behind the dot", text)
	case s.source == peer && s.name != "address" && s.name != "principal":
		return Selector{}, fmt.Errorf("%q: a peer has peer.address and peer.principal", text)
	case s.source == header || s.source == grpcMetadata:
		s.name = strings.ToLower(s.name)
	case s.source == bodyJSON:
		return s.withSteps()
	}
	if strings.Contains(s.name, "[*]") {
		return Selector{}, fmt.Errorf("%q: only body.json has lists", text)
	}
	return s, nil
}

func (s Selector) withSteps() (Selector, error) {
	for segment := range strings.SplitSeq(s.name, ".") {
		name, list := strings.CutSuffix(segment, "[*]")
		if strings.ContainsAny(name, "[]*") || name == "" && !list {
			return Selector{}, fmt.Errorf("%q: write names joined by dots, with [*] behind a list, such as body.json.messages[*].destination", s.text)
		}
		if name != "" {
			s.steps = append(s.steps, name)
		}
		if list {
			s.steps = append(s.steps, "*")
		}
	}
	return s, nil
}

// String is the selector as it was written.
func (s Selector) String() string { return s.text }

// MarshalText is String.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// IsZero says that it is no selector.
func (s Selector) IsZero() bool { return s.source == 0 }

// IsFixed says that the selector is a value.TEXT, the same for every request, and which.
func (s Selector) IsFixed() (string, bool) { return s.name, s.source == fixed }

// HasList says that it may find several values.
func (s Selector) HasList() bool { return slices.Contains(s.steps, "*") }

// Beside says that for each value of s there is at most one of the other: whatever lists it goes through, s goes through too.
func (s Selector) Beside(other Selector) bool {
	last := -1
	for i, step := range other.steps {
		if step == "*" {
			last = i
		}
	}
	return last < 0 || last < len(s.steps) && slices.Equal(other.steps[:last+1], s.steps[:last+1])
}

// NeedsBody says that it reads the body.
func (s Selector) NeedsBody() bool {
	return s.source == bodyJSON || s.source == bodyForm || s.source == computed
}
