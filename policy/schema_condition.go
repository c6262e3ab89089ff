package policy

import (
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v4"
)

const conditionBounds = `CEL over the send, such as send.country == "ID" && !send.known_good`

// condition reads a when.
func condition(dst **Condition) value {
	return value{kind: "condition", bounds: conditionBounds, read: func(d *decoder, n *yaml.Node, path string) {
		d.expression(n, path, conditionBounds, d.sendEnv, newSendEnv, func(env *cel.Env, text string, place func(offset int) (line, column int)) []finding {
			c, wrong := compileCondition(env, text)
			if wrong != nil {
				return wrong
			}
			for i := range c.accounts {
				a := &c.accounts[i]
				a.line, a.column = place(a.column)
			}
			*dst = c
			return nil
		})
	}}
}

// lazyEnv is an environment that is made when the first expression asks for it: a policy without expressions pays nothing.
type lazyEnv struct{ env *cel.Env }

// expression reads a text, gives it to compile, and notes what is wrong at the place in the file where it stands.
func (d *decoder) expression(n *yaml.Node, path, bounds string, lazy *lazyEnv, open func() (*cel.Env, error),
	compile func(env *cel.Env, text string, place func(offset int) (line, column int)) []finding) {
	if !d.plain(n, path, yaml.ScalarNode, bounds) {
		return
	}
	if strings.TrimSpace(n.Value) == "" {
		d.bad(n, path, "it is empty: write %s, or leave the key out", bounds)
		return
	}
	if lazy.env == nil {
		env, err := open()
		if err != nil {
			d.bad(n, path, "the CEL environment does not start: %v", err)
			return
		}
		lazy.env = env
	}
	var where [][2]int
	place := func(offset int) (int, int) {
		if where == nil {
			where = places(d.src, n)
		}
		at := where[min(max(offset, 0), len(where)-1)]
		return at[0], at[1]
	}
	for _, f := range compile(lazy.env, n.Value, place) {
		line, column := place(f.offset)
		d.bad(&yaml.Node{Line: line, Column: column}, path, "%s", f.message)
	}
}
