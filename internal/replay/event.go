package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// event is one line of a log. Its texts are parts of the line.
type event struct {
	at                            time.Time
	kind                          []byte // "send" or "outcome"
	id                            []byte
	number, client                []byte
	account, subaccount, endpoint []byte
	purpose, channel              []byte
	outcome                       []byte
	cost                          int64
	challengePassed               bool
	t                             []byte
}

// text finds the field that a key names, nil where it names none.
func (e *event) text(key []byte) *[]byte {
	switch string(key) {
	case "t":
		return &e.t
	case "type":
		return &e.kind
	case "id":
		return &e.id
	case "msisdn":
		return &e.number
	case "ip":
		return &e.client
	case "account":
		return &e.account
	case "subaccount":
		return &e.subaccount
	case "endpoint":
		return &e.endpoint
	case "purpose":
		return &e.purpose
	case "channel":
		return &e.channel
	case "outcome":
		return &e.outcome
	}
	return nil
}

// parse reads a line. No error repeats what the line says: that may be a number.
func (e *event) parse(line []byte) error {
	if !e.scan(line) {
		if err := e.decode(line); err != nil {
			return err
		}
	}
	var err error
	if e.at, err = time.Parse(time.RFC3339, string(e.t)); err != nil {
		return errors.New("t: write a time like 2026-01-05T00:00:02.597Z")
	}
	if e.at, err = inRange(e.at); err != nil {
		return err
	}
	switch string(e.kind) {
	case "send", "outcome":
	default:
		return errors.New(`type: write "send" or "outcome"`)
	}
	if len(e.id) == 0 {
		return errors.New("id: missing")
	}
	return nil
}

// scan reads the usual line: an object whose values are plain ASCII texts. It returns false for anything else, such as an escape, a
// number or a mistake; decode tells those apart.
func (e *event) scan(line []byte) bool {
	*e = event{cost: 1}
	i := skip(line, 0)
	if i == len(line) || line[i] != '{' {
		return false
	}
	for i++; ; i++ {
		var key, value []byte
		if i, key = text(line, skip(line, i)); key == nil {
			return false
		}
		if i = skip(line, i); i == len(line) || line[i] != ':' {
			return false
		}
		if i, value = text(line, skip(line, i+1)); value == nil {
			return false
		}
		if at := e.text(key); at != nil {
			*at = value
		} else if string(key) == "cost" || string(key) == "challenge_passed" {
			return false
		}
		if i = skip(line, i); i == len(line) {
			return false
		}
		if line[i] == '}' {
			return skip(line, i+1) == len(line)
		}
		if line[i] != ',' {
			return false
		}
	}
}

// skip passes over the white space of JSON.
func skip(line []byte, i int) int {
	for i < len(line) && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r' || line[i] == '\n') {
		i++
	}
	return i
}

// text reads a quoted text without escapes, nil where there is none.
func text(line []byte, i int) (end int, value []byte) {
	if i == len(line) || line[i] != '"' {
		return i, nil
	}
	for j := i + 1; j < len(line); j++ {
		switch c := line[j]; {
		case c == '"':
			return j + 1, line[i+1 : j : j]
		case c == '\\' || c < ' ' || c >= 0x80:
			return i, nil
		}
	}
	return i, nil
}

// decode reads any JSON object. Of a key that stands twice the last counts.
func (e *event) decode(line []byte) error {
	*e = event{cost: 1}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil || fields == nil {
		return errors.New("not a JSON object")
	}
	for key, raw := range fields {
		var err error
		if at := e.text([]byte(key)); at != nil {
			var s string
			err = json.Unmarshal(raw, &s)
			*at = []byte(s)
		} else if key == "cost" {
			err = json.Unmarshal(raw, &e.cost)
		} else if key == "challenge_passed" {
			err = json.Unmarshal(raw, &e.challengePassed)
		}
		if err != nil {
			return fmt.Errorf("%s: a value of the wrong type", key)
		}
	}
	return nil
}
