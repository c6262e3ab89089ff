package replay

import "encoding/json"

// appendText appends a JSON string.
func appendText(out []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // cannot fail for a string
			return append(out, quoted...)
		}
	}
	return append(append(append(out, '"'), s...), '"')
}
