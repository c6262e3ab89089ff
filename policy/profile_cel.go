package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/internal/extract"
)

// The variables of an expression in a profile. The request is asked for its parts by the words that selectors have, so that what is
// strict there is strict here.
const (
	varRequest = "request"
	varMethod  = "request.method"
	varTarget  = "request.target"
	varJSON    = "request.json"
)

// requestParts are the functions of a request that take a name, by the selector that each stands for.
func requestParts() map[string]string {
	return map[string]string{"header": "header.", "query": "query.", "form": "body.form.", "path": "path.", "metadata": "metadata.",
		"routeMetadata": "route_metadata.", "context": "context.", "grpc": "grpc.", "peer": "peer."}
}

// fnHas asks whether a selector finds something: request.has("header.x-phone").
const fnHas = "has"

const (
	requestBounds = `{cel: ...}, such as {cel: 'request.json.messages.map(m, "+" + m.to)'}`
	// A body has so many elements in all lists, and so many bytes in all texts, for the estimate of an expression's cost. What a real
	// body has beyond that meets the same bound at run time.
	estimatedList  = 100
	estimatedBytes = 128
	// maxRequestCost is more than a condition may cost, since a request has many sends: 2 ms at the worst.
	maxRequestCost = 100_000
)

var requestCEL = cel.OpaqueType("request")

func requestVariables() map[string]*cel.Type {
	return map[string]*cel.Type{varRequest: requestCEL, varMethod: cel.StringType, varTarget: cel.StringType, varJSON: cel.DynType}
}

// newRequestEnv is the environment of expressions in profiles.
func newRequestEnv() (*cel.Env, error) {
	vars := requestVariables()
	options := guards()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		options = append(options, cel.Variable(name, vars[name]))
	}
	parts := requestParts()
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		options = append(options, cel.Function(name, cel.MemberOverload("request_"+name, []*cel.Type{requestCEL, cel.StringType}, cel.StringType,
			cel.BinaryBinding(func(lhs, rhs ref.Val) ref.Val {
				return lhs.(*celRequest).part(parts[name] + string(rhs.(types.String)))
			}))))
	}
	options = append(options, cel.Function(fnHas, cel.MemberOverload("request_has", []*cel.Type{requestCEL, cel.StringType}, cel.BoolType,
		cel.BinaryBinding(func(lhs, rhs ref.Val) ref.Val { return lhs.(*celRequest).has(string(rhs.(types.String))) }))))
	return cel.NewEnv(options...)
}

// celRequest is a request that is being read, and why that failed.
type celRequest struct {
	reading *extract.Reading
	fault   extract.Fault
}

// part reads what a selector names.
func (r *celRequest) part(selector string) ref.Val {
	s, err := extract.ParseSelector(selector)
	if err != nil {
		return r.failed(extract.Unreadable) // compile has read every selector already
	}
	text, fault := r.reading.One(s, nil)
	if fault != "" {
		return r.failed(fault)
	}
	return types.String(text)
}

func (r *celRequest) has(selector string) ref.Val {
	s, err := extract.ParseSelector(selector)
	if err != nil {
		return r.failed(extract.Unreadable)
	}
	switch _, fault := r.reading.One(s, nil); fault {
	case "":
		return types.True
	case extract.Missing:
		return types.False
	default:
		return r.failed(fault)
	}
}

// failed remembers the first fault: CEL's own errors do not say which it was.
func (r *celRequest) failed(f extract.Fault) ref.Val {
	if r.fault == "" {
		r.fault = f
	}
	return types.NewErr("%s", f)
}

// ResolveName makes a request a cel.Activation.
func (r *celRequest) ResolveName(name string) (any, bool) {
	switch name {
	case varRequest:
		return r, true
	case varMethod:
		return types.String(r.reading.Method), true
	case varTarget:
		return types.String(r.reading.Target), true
	case varJSON:
		tree, fault := r.reading.JSON()
		if fault != "" {
			return r.failed(fault), true
		}
		return plainJSON(tree), true
	}
	return nil, false
}

// Parent makes a request a cel.Activation.
func (r *celRequest) Parent() cel.Activation { return nil }

func (r *celRequest) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a request is no %v", t)
}
func (r *celRequest) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("a request cannot be converted")
}
func (r *celRequest) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(r)) }
func (r *celRequest) Type() ref.Type              { return requestCEL }
func (r *celRequest) Value() any                  { return r.reading.Method }

// plainJSON makes numbers what CEL counts with: whole ones int, others double.
func plainJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = plainJSON(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plainJSON(x)
		}
		return out
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return v
}

// requestSizes bounds the parts of a request for the estimate: a list or object of the body has estimatedList elements.
type requestSizes struct{ sizes }

// EstimateSize makes requestSizes a cost.Estimator.
func (requestSizes) EstimateSize(e cost.AstNode) *cost.SizeEstimate {
	if len(e.Path()) > 0 && e.Path()[0] == varJSON || e.Type() == cel.DynType {
		return &cost.SizeEstimate{Max: estimatedList}
	}
	if e.Type() == cel.StringType {
		return &cost.SizeEstimate{Max: estimatedBytes}
	}
	return nil
}

// computed makes a selector of an expression.
func computed(env *cel.Env, text string) (extract.Selector, []finding) {
	x, wrong := compile(env, text, requestVariables(), []*cel.Type{cel.StringType, cel.ListType(cel.StringType), cel.DynType, cel.ListType(cel.DynType)}, requestSizes{}, maxRequestCost)
	if wrong != nil {
		return extract.Selector{}, wrong
	}
	if len(x.about) == 0 {
		return extract.Selector{}, []finding{{0, "this asks nothing of the request: write request.json.FIELD, request.header(\"x-phone\") or the like"}}
	}
	info := x.ast.NativeRep().SourceInfo()
	parts := requestParts()
	ast.PostOrderVisit(x.ast.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || !e.AsCall().IsMemberFunction() || !isVar(e.AsCall().Target(), varRequest) {
			return
		}
		c := e.AsCall()
		name, ok := textOf(c.Args()[0])
		at := offsetOf(text, info.GetStartLocation(c.Args()[0].ID()))
		if !ok {
			wrong = append(wrong, finding{at, "this must be written out: write a text in quotes"})
		} else if _, err := extract.ParseSelector(parts[c.FunctionName()] + name); err != nil {
			wrong = append(wrong, finding{at, maskDigits(err.Error())})
		}
	}))
	if wrong != nil {
		return extract.Selector{}, wrong
	}
	return extract.Computed("cel: "+maskDigits(text), x.find), nil
}

// find evaluates an expression for a request. CEL's errors may hold what the request says, so none is told.
func (x *expression) find(r *extract.Reading) (values []string, many bool, fault extract.Fault) {
	request := &celRequest{reading: r}
	v, _, err := x.program.Eval(request)
	if err != nil {
		switch {
		case request.fault != "":
			return nil, false, request.fault
		case strings.Contains(err.Error(), "no such key"):
			return nil, false, extract.Missing
		}
		return nil, false, extract.Unreadable
	}
	switch v := v.(type) {
	case types.String:
		return []string{string(v)}, false, ""
	case types.Null:
		return nil, false, extract.Missing
	case traits.Lister:
		size, _ := v.Size().(types.Int)
		for i := range size {
			text, ok := v.Get(i).(types.String)
			if !ok {
				return nil, false, extract.Unreadable
			}
			values = append(values, string(text))
		}
		return values, true, ""
	}
	return nil, false, extract.Unreadable
}

// selectorOrCEL reads a selector, or {cel: EXPRESSION}.
func selectorOrCEL(dst *extract.Selector) value {
	v := selector(dst)
	plain := v.read
	v.kind, v.bounds = "selector or {cel: ...}", v.bounds+"; or "+requestBounds
	v.read = func(d *decoder, n *yaml.Node, path string) {
		if n.Kind != yaml.MappingNode {
			plain(d, n, path)
			return
		}
		d.object(n, path, []field{{"cel", celSelector(dst), required, ""}}, false)
	}
	return v
}

func celSelector(dst *extract.Selector) value {
	const bounds = `CEL over the request, such as request.json.to or request.header("x-phone")`
	return value{kind: "expression", bounds: bounds, read: func(d *decoder, n *yaml.Node, path string) {
		d.expression(n, path, bounds, d.requestEnv, newRequestEnv, func(env *cel.Env, text string, _ func(int) (int, int)) []finding {
			s, wrong := computed(env, text)
			*dst = s
			return wrong
		})
	}}
}
