package policy

// Field is one key that a policy file may have.
type Field struct {
	Path    string // "limits[].window"; .NAME and the like stand for names of one's own
	Type    string // "duration"
	Default string // as YAML; empty: nothing
	// Required says that the key must be there when the mapping around it is.
	Required bool
	Range    string // what may be written, in words; empty for mappings
	Meaning  string
}

// Reference is every key of a policy file, in the order in which they are best explained. It is made of the tables that the
// parser reads by.
func Reference() []Field {
	return appendReference(nil, "", policyFields(new(Policy)))
}

func appendReference(out []Field, path string, fields []field) []Field {
	for _, f := range fields {
		at := join(path, f.name)
		one := Field{Path: at, Type: f.value.kind, Default: f.initial, Range: f.value.bounds, Meaning: f.meaning}
		if f.initial == required {
			one.Default, one.Required = "", true
		}
		if f.initial == "{}" {
			one.Default = "" // that of its fields
		}
		out = appendReference(append(out, one), at+f.value.item, f.value.fields)
	}
	return out
}
