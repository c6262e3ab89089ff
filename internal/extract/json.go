package extract

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxDepth is how deep lists and objects may be nested. Bodies that describe messages need four.
const maxDepth = 64

var (
	errJSON  = errors.New("not JSON")
	errTwice = errors.New("a key stands twice")
)

// parseJSON reads one value of JSON into map[string]any, []any, string, json.Number, bool or nil. Unlike encoding/json it refuses
// keys that stand twice, also where they are only spelled differently ("to" and "\u0074o"), and it never folds case.
func parseJSON(body []byte) (any, error) {
	// The token reader is laxer than the scanner behind Valid, which also sees what follows the value.
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, errJSON
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return jsonValue(d, 0)
}

func jsonValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil || depth > maxDepth {
		return nil, errJSON
	}
	switch token {
	case json.Delim('{'):
		object := make(map[string]any)
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, errJSON
			}
			name := key.(string) // the scanner has seen that it is one
			if _, twice := object[name]; twice {
				return nil, errTwice
			}
			if object[name], err = jsonValue(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := jsonValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}
