package policy

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Parse reads a policy. The name is for messages: the path of the file. When anything is wrong the error is an [*Error] that
// lists every problem, and there is no policy.
func Parse(name string, src []byte) (*Policy, error) {
	d := &decoder{file: name, at: make(map[string]*yaml.Node)}
	p := &Policy{Name: name}
	if root := d.document(src); root != nil {
		d.object(root, "", policyFields(p), false)
		if len(d.problems) == 0 {
			d.judge(p)
		}
	}
	if len(d.problems) == 0 {
		if err := p.build(); err != nil {
			d.badAt("client_address", "%v", err)
		}
	}
	if len(d.problems) > 0 {
		return nil, &Error{Problems: sortProblems(d.problems)}
	}
	return p, nil
}

// judge checks what needs more than one field to be seen, and settles what one field says about others.
func (d *decoder) judge(p *Policy) {
	d.judgeNames(p)
	d.judgeFailModes(p)
	d.judgeAccounts(p)
	p.settleReplacements()
}

// judgeNames wants every name once, for limits and spend together: metrics, fail_mode and operators go by it.
func (d *decoder) judgeNames(p *Policy) {
	first := make(map[string]string)
	note := func(scope, name, path string) {
		at := join(path, "name")
		if name == "default" {
			d.badAt(at, "the name default is taken by fail_mode.default: write another")
		}
		if before, twice := first[scope+name]; twice {
			d.badAt(at, "the name %s is taken by %s in line %d: write another", quote(name), before, d.at[before].Line)
			return
		}
		first[scope+name] = path
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		scope := ""
		if l.KnownGood || l.Account != "" {
			scope = l.StoreName() + " "
		}
		note(scope, l.Name, l.path)
	}
}

// judgeFailModes gives each rule the mode that its own field, else fail_mode, says.
func (d *decoder) judgeFailModes(p *Policy) {
	used := make(map[string]bool)
	settle := func(own *FailMode, name, path string) {
		used[name] = true
		mode, named := p.failModes[name]
		switch {
		case *own != "" && named && *own != *mode:
			d.badAt(join(path, "fail_mode"), "fail_mode.%s says %s and this says %s: keep one of them", name, *mode, *own)
		case *own == "" && named:
			*own = *mode
		case *own == "":
			*own = *p.failModes["default"]
		}
	}
	for i := range p.Limits {
		settle(&p.Limits[i].FailMode, p.Limits[i].Name, p.Limits[i].path)
	}
	names := slices.Sorted(maps.Keys(used))
	for _, name := range slices.Sorted(maps.Keys(p.failModes)) {
		if name != "default" && !used[name] {
			d.badAt("fail_mode."+name, "there is no rule %s%s", quote(name), remedy(name, append(names, "default")))
		}
	}
}

// judgeAccounts wants every account that a rule names to be one of accounts, where there are any.
func (d *decoder) judgeAccounts(p *Policy) {
	if len(p.Accounts) == 0 {
		return
	}
	known := slices.Sorted(maps.Keys(p.Accounts))
	for i := range p.Limits {
		l := &p.Limits[i]
		for _, m := range []struct {
			key   string
			match *Match
		}{{"match", &l.Match}, {"unless", &l.Unless}} {
			for _, name := range m.match.Account {
				if !slices.Contains(known, name) {
					d.badAt(l.path+"."+m.key+".account", "there is no account %s%s", quote(name), remedy(name, known))
				}
			}
		}
	}
}

// settleReplacements tells each limit where another of its name stands in for it, and drops those that are off.
func (p *Policy) settleReplacements() {
	accounts, known := make(map[string][]string), make(map[string]bool)
	for i := range p.Limits {
		switch l := &p.Limits[i]; {
		case l.KnownGood:
			known[l.Name] = true
		case l.Account != "":
			accounts[l.Name] = append(accounts[l.Name], l.Account)
		}
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		l.notKnownGood = known[l.Name] && !l.KnownGood
		if !l.KnownGood && l.Account == "" {
			l.notAccounts = accounts[l.Name]
		}
	}
	p.Limits = slices.DeleteFunc(p.Limits, func(l Limit) bool { return l.Mode == Off })
}
