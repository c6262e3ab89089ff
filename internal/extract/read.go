package extract

import (
	"encoding/json"
	"mime"
	"net/url"
	"strconv"
	"strings"
)

// Request is what a proxy tells of a request. Only what the selectors ask for is read.
type Request struct {
	Method string
	Target string // path and query, as on the wire
	// Header returns the lines of a header by its lower-case name. Nil: none.
	Header func(name string) []string
	Body   []byte
	// Size is how long the body is, where the proxy says; more than len(Body) means that it was cut off. 0 where it does not say.
	Size int64
	// TooLarge says that the body was not read because of its size.
	TooLarge bool
	// Context is what the proxy's own configuration says about the route.
	Context map[string]string
	// Metadata and RouteMetadata are trees by namespace, of the types that encoding/json makes.
	Metadata, RouteMetadata map[string]any
	// GRPC returns the metadata of the call that the proxy makes. Nil: none.
	GRPC func(name string) []string
	// PeerAddress and PeerPrincipal are of the connection to the proxy.
	PeerAddress, PeerPrincipal string
}

// Fault is why a value could not be had. The zero Fault is none.
type Fault string

// The faults, in the words of a policy's on_ keys.
const (
	Missing    Fault = "missing"    // it is not there
	Unreadable Fault = "unreadable" // not what the selector reads, or it could be read in two ways
	Compressed Fault = "compressed" // the body is
	Partial    Fault = "partial"    // the proxy cut the body off
	Oversized  Fault = "oversized"  // the body is larger than is read
)

// Reading is one request and what of it has been read. It belongs to one goroutine.
type Reading struct {
	*Request
	Variables map[string]string // of the path, see MatchPath

	tree      any
	form      url.Values
	bodyFault Fault
	read      source // what the body was read as
}

// Read begins to read a request.
func Read(r *Request) *Reading { return &Reading{Request: r} }

// MatchPath compares with a template and takes its variables.
func (r *Reading) MatchPath(t Template) bool {
	variables, ok := t.match(r.Method, r.Target)
	if ok {
		r.Variables = variables
	}
	return ok
}

// Item is one of several values, and where in the lists on its way it stood.
type Item struct {
	Text string
	At   []int
}

// All finds every value that must be there and must be text. It returns at least one item, or a fault.
func (r *Reading) All(s Selector) ([]Item, Fault) {
	if s.source == computed {
		return r.compute(s)
	}
	if s.source != bodyJSON {
		text, fault := r.One(s, nil)
		if fault != "" {
			return nil, fault
		}
		return []Item{{Text: text}}, ""
	}
	if fault := r.body(bodyJSON); fault != "" {
		return nil, fault
	}
	var items []Item
	fault := walk(r.tree, s.steps, nil, func(v any, at []int) Fault {
		text, isText := v.(string)
		switch {
		case v == nil || isText && text == "":
			return Missing
		case !isText:
			return Unreadable // a number loses its plus and, in other readers, its last digits
		}
		items = append(items, Item{text, append([]int(nil), at...)})
		return ""
	})
	if fault == "" && len(items) == 0 {
		fault = Missing
	}
	return items, fault
}

// One finds the value that stands beside an item, or, without lists, the only one.
func (r *Reading) One(s Selector, at []int) (string, Fault) {
	switch s.source {
	case fixed:
		return s.name, ""
	case computed:
		return r.computeOne(s, at)
	case header:
		return single(lines(r.Header, s.name))
	case grpcMetadata:
		return single(lines(r.GRPC, s.name))
	case path:
		return present(r.Variables[s.name])
	case contextExtension:
		return present(r.Context[s.name])
	case query:
		_, raw, _ := strings.Cut(r.Target, "?")
		values, err := url.ParseQuery(raw)
		if err != nil {
			return "", Unreadable
		}
		return single(values[s.name])
	case bodyForm:
		if fault := r.body(bodyForm); fault != "" {
			return "", fault
		}
		return single(r.form[s.name])
	case metadata:
		return fromTrees(r.Metadata, s.name)
	case routeMetadata:
		return fromTrees(r.RouteMetadata, s.name)
	case peer:
		if s.name == "principal" {
			return present(r.PeerPrincipal)
		}
		return present(r.PeerAddress)
	case bodyJSON:
		if fault := r.body(bodyJSON); fault != "" {
			return "", fault
		}
		found := any(nil)
		fault := walkAt(r.tree, s.steps, at, func(v any) { found = v })
		if fault != "" {
			return "", fault
		}
		return plain(found)
	}
	return "", Missing
}

// JSON is the whole body, read as JSON: of map[string]any, []any, string, json.Number, bool and nil. It must not be changed.
func (r *Reading) JSON() (any, Fault) {
	if fault := r.body(bodyJSON); fault != "" {
		return nil, fault
	}
	return r.tree, ""
}

// compute is All for a computed selector.
func (r *Reading) compute(s Selector) ([]Item, Fault) {
	values, many, fault := s.find(r)
	if fault != "" {
		return nil, fault
	}
	var items []Item
	for i, text := range values {
		if text == "" {
			return nil, Missing
		}
		item := Item{Text: text}
		if many {
			item.At = []int{i}
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, Missing
	}
	return items, ""
}

// computeOne is One for a computed selector: of several values, that of the number at the same place in one list.
func (r *Reading) computeOne(s Selector, at []int) (string, Fault) {
	items, fault := r.compute(s)
	switch {
	case fault != "":
		return "", fault
	case items[0].At == nil:
		return items[0].Text, ""
	case len(at) != 1 || at[0] >= len(items):
		return "", Unreadable
	}
	return items[at[0]].Text, ""
}

// body reads the body once, as one thing.
func (r *Reading) body(as source) Fault {
	if r.read == as {
		return r.bodyFault
	}
	r.read, r.bodyFault = as, r.readBody(as)
	return r.bodyFault
}

func (r *Reading) readBody(as source) Fault {
	switch encoding := lines(r.Header, "content-encoding"); {
	case r.TooLarge:
		return Oversized
	case r.Size > int64(len(r.Body)):
		return Partial
	case len(r.Body) == 0:
		return Missing
	case len(encoding) > 1 || len(encoding) == 1 && !strings.EqualFold(strings.TrimSpace(encoding[0]), "identity"):
		return Compressed
	}
	types := lines(r.Header, "content-type")
	if len(types) != 1 {
		return Unreadable
	}
	kind, params, err := mime.ParseMediaType(types[0])
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return Unreadable
	}
	if as == bodyForm {
		if kind != "application/x-www-form-urlencoded" {
			return Unreadable
		}
		if r.form, err = url.ParseQuery(string(r.Body)); err != nil {
			return Unreadable
		}
		return ""
	}
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return Unreadable
	}
	if r.tree, err = parseJSON(r.Body); err != nil {
		return Unreadable
	}
	return ""
}

// walk visits every value at the end of the steps.
func walk(v any, steps []string, at []int, visit func(any, []int) Fault) Fault {
	if len(steps) == 0 {
		return visit(v, at)
	}
	if steps[0] != "*" {
		next, fault := step(v, steps[0])
		if fault != "" {
			return fault
		}
		return walk(next, steps[1:], at, visit)
	}
	list, ok := v.([]any)
	if !ok {
		return Unreadable
	}
	for i, element := range list {
		if fault := walk(element, steps[1:], append(at, i), visit); fault != "" {
			return fault
		}
	}
	return ""
}

// walkAt goes to one value, through the elements of the item.
func walkAt(v any, steps []string, at []int, visit func(any)) Fault {
	for _, name := range steps {
		if name == "*" {
			list, ok := v.([]any)
			if !ok || len(at) == 0 || at[0] >= len(list) {
				return Unreadable
			}
			v, at = list[at[0]], at[1:]
			continue
		}
		next, fault := step(v, name)
		if fault != "" {
			return fault
		}
		v = next
	}
	visit(v)
	return ""
}

func step(v any, name string) (any, Fault) {
	object, ok := v.(map[string]any)
	if !ok {
		if v == nil {
			return nil, Missing
		}
		return nil, Unreadable
	}
	next, ok := object[name]
	if !ok {
		return nil, Missing
	}
	return next, ""
}

// fromTrees reads NAMESPACE.FIELD. Namespaces have dots in them: the longest that there is counts.
func fromTrees(trees map[string]any, name string) (string, Fault) {
	longest := ""
	for namespace := range trees {
		if len(namespace) > len(longest) && strings.HasPrefix(name, namespace+".") {
			longest = namespace
		}
	}
	if longest == "" {
		return "", Missing
	}
	v := trees[longest]
	for field := range strings.SplitSeq(name[len(longest)+1:], ".") {
		next, fault := step(v, field)
		if fault != "" {
			return "", fault
		}
		v = next
	}
	return plain(v)
}

// plain writes a value that is not a list or object.
func plain(v any) (string, Fault) {
	switch v := v.(type) {
	case nil:
		return "", Missing
	case string:
		return present(v)
	case bool:
		return strconv.FormatBool(v), ""
	case json.Number:
		return v.String(), ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), ""
	}
	return "", Unreadable
}

func lines(get func(string) []string, name string) []string {
	if get == nil {
		return nil
	}
	return get(name)
}

// single wants one value: of two, another reader may take the other.
func single(values []string) (string, Fault) {
	if len(values) > 1 {
		return "", Unreadable
	}
	if len(values) == 0 {
		return "", Missing
	}
	return present(strings.TrimSpace(values[0]))
}

func present(s string) (string, Fault) {
	if s == "" {
		return "", Missing
	}
	return s, ""
}
