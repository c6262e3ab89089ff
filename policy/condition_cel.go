package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/sendgate/sendgate/internal/phone"
)

// The variables of a condition. The number itself is none of them: it can be asked for its prefix and range.
const (
	varAccount         = "send.account"
	varSubaccount      = "send.subaccount"
	varEndpoint        = "send.endpoint"
	varChannel         = "send.channel"
	varPurpose         = "send.purpose"
	varCountry         = "send.country"
	varType            = "send.type"
	varKnownGood       = "send.known_good"
	varChallengePassed = "send.challenge_passed"
	varCost            = "send.cost"
	varAttributes      = "send.attributes"
	varNumber          = "send.number"
	varClient          = "send.client"
	varTime            = "send.time"
)

// The functions that only conditions have.
const (
	fnHasPrefix = "hasPrefix" // send.number.hasPrefix("+6591*")
	fnInRange   = "inRange"   // send.number.inRange("+6591234***")
	fnWithin    = "within"    // send.client.within("203.0.113.0/24")
)

// Bounds of an expression. A condition is asked for every send, so its cost is bounded twice: by an estimate when the policy is
// read, and by a count while it runs. CEL's unit of cost is one simple operation, 10 to 50 ns; 10000 of them are a fraction of a
// millisecond at the worst input.
const (
	maxExpression     = 2048 // bytes
	maxExpressionCost = 10_000
	maxExpressionDeep = 40
)

// Bounds of what a send carries, which the estimate goes by. gate refuses longer ones.
const (
	maxNameBytes      = 128
	maxAttributes     = 16
	maxAttributeBytes = 256
)

var (
	numberCEL = cel.OpaqueType("number")
	clientCEL = cel.OpaqueType("address")
)

// sendVariables are the types of the variables.
func sendVariables() map[string]*cel.Type {
	return map[string]*cel.Type{
		varAccount: cel.StringType, varSubaccount: cel.StringType, varEndpoint: cel.StringType, varChannel: cel.StringType,
		varPurpose: cel.StringType, varCountry: cel.StringType, varType: cel.StringType, varKnownGood: cel.BoolType,
		varChallengePassed: cel.BoolType, varCost: cel.IntType, varAttributes: cel.MapType(cel.StringType, cel.StringType),
		varNumber: numberCEL, varClient: clientCEL, varTime: cel.TimestampType,
	}
}

// newSendEnv is the environment of conditions. It takes about a millisecond, so only a policy that has one makes it.
func newSendEnv() (*cel.Env, error) {
	vars := sendVariables()
	options := guards()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		options = append(options, cel.Variable(name, vars[name]))
	}
	member := func(name string, of *cel.Type, call func(lhs, rhs ref.Val) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload(of.TypeName()+"_"+name, []*cel.Type{of, cel.StringType}, cel.BoolType, cel.BinaryBinding(call)))
	}
	return cel.NewEnv(append(options,
		member(fnHasPrefix, numberCEL, func(lhs, rhs ref.Val) ref.Val {
			l, err := parseLeading(string(rhs.(types.String)))
			return answered(err == nil && l.begins(lhs.(celNumber).n), err)
		}),
		member(fnInRange, numberCEL, func(lhs, rhs ref.Val) ref.Val {
			r, err := phone.ParseRange(string(rhs.(types.String)))
			return answered(err == nil && r.Contains(lhs.(celNumber).n), err)
		}),
		member(fnWithin, clientCEL, func(lhs, rhs ref.Val) ref.Val {
			p, err := parsePrefix(string(rhs.(types.String)))
			return answered(err == nil && p.Contains(lhs.(celClient).a), err)
		}))...)
}

// guards bound what an expression may be, and find at load what would fail at run time.
func guards() []cel.EnvOption {
	return []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(maxExpressionDeep),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals(),
			cel.ValidateHomogeneousAggregateLiterals()),
	}
}

func answered(yes bool, err error) ref.Val {
	if err != nil {
		return types.NewErr("not a literal that conditions take") // compile has read every literal already
	}
	return types.Bool(yes)
}

// evaluate asks CEL. Its error may hold what the send says, so it is counted and never told.
func evaluate(program cel.Program, s *Send) outcome {
	v, _, err := program.Eval((*sendVars)(s))
	switch {
	case err != nil:
		return failed
	case v == types.True:
		return yes
	}
	return no
}

// sendVars gives CEL the variables of a send.
type sendVars Send

// ResolveName makes sendVars a cel.Activation.
func (v *sendVars) ResolveName(name string) (any, bool) {
	s := (*Send)(v)
	switch name {
	case varKnownGood:
		return types.Bool(s.KnownGood), true
	case varChallengePassed:
		return types.Bool(s.ChallengePassed), true
	case varCost:
		return types.Int(s.Cost), true
	case varAttributes:
		return s.Attributes, true
	case varNumber:
		return celNumber{s.Number}, true
	case varClient:
		return celClient{s.Client}, true
	case varTime:
		return types.Timestamp{Time: s.At.UTC()}, true
	}
	if d, ok := dimensionOf(name); ok {
		return types.String(s.value(d)), true
	}
	return nil, false
}

// Parent makes sendVars a cel.Activation.
func (v *sendVars) Parent() cel.Activation { return nil }

// dimensionOf is the dimension whose text a variable is.
func dimensionOf(variable string) (dimension, bool) {
	switch variable {
	case varAccount:
		return byAccount, true
	case varSubaccount:
		return bySubaccount, true
	case varEndpoint:
		return byEndpoint, true
	case varChannel:
		return byChannel, true
	case varPurpose:
		return byPurpose, true
	case varCountry:
		return byCountry, true
	case varType:
		return byNumberType, true
	}
	return 0, false
}

// celNumber is a number that can be asked, and not read.
type celNumber struct{ n phone.Number }

func (v celNumber) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a number is no %v", t)
}
func (v celNumber) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("a number cannot be converted")
}
func (v celNumber) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(v)) }
func (v celNumber) Type() ref.Type              { return numberCEL }
func (v celNumber) Value() any                  { return v.n } // masks itself when printed

// celClient is an address that can be asked for its block.
type celClient struct{ a netip.Addr }

func (v celClient) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("an address is no %v", t)
}
func (v celClient) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("an address cannot be converted")
}
func (v celClient) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(v)) }
func (v celClient) Type() ref.Type              { return clientCEL }
func (v celClient) Value() any                  { return v.a }

// leading is the first digits of a number.
type leading struct {
	digits uint64
	length int
}

// parseLeading reads what hasPrefix takes: a prefix as lists write it, the star may be left out.
func parseLeading(text string) (leading, error) {
	var e Entry
	text = strings.TrimSuffix(text, "*")
	if !prefixPattern.MatchString(text + "*") {
		return leading{}, fmt.Errorf("%s is no prefix: write + and 1 to %d digits, such as +6591", quote(text), maxPrefix)
	}
	if err := e.readNumber(text + "*"); err != nil {
		return leading{}, err
	}
	digits, err := strconv.ParseUint(e.Prefix, 10, 64)
	return leading{digits, len(e.Prefix)}, err
}

// begins reports whether a number begins with these digits.
func (l leading) begins(n phone.Number) bool {
	digits, length := n.Digits(), 0
	for d := digits; d > 0; d /= 10 {
		length++
	}
	for ; length > l.length; length-- {
		digits /= 10
	}
	return length == l.length && digits == l.digits
}

// sizes tells the estimate how long the variables get.
type sizes map[string]cost.SizeEstimate

// EstimateSize makes sizes a cost.Estimator.
func (z sizes) EstimateSize(element cost.AstNode) *cost.SizeEstimate {
	if size, known := z[strings.Join(element.Path(), " ")]; known {
		return &size
	}
	return nil
}

// EstimateCallCost leaves the cost of functions to the library; ours cost one.
func (z sizes) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	switch function {
	case fnHasPrefix, fnInRange, fnWithin:
		return &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(2)}
	}
	return nil
}
