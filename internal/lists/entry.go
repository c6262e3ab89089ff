package lists

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"
)

// List names one of the three lists.
type List uint8

// The lists. Test is for numbers of our own, for which nothing is really sent.
const (
	Allow List = iota
	Block
	Test
	listCount
)

func (l List) String() string {
	switch l {
	case Allow:
		return "allow"
	case Block:
		return "block"
	case Test:
		return "test"
	}
	return "none"
}

// ParseList reads "allow", "block" or "test".
func ParseList(text string) (List, error) {
	for l := Allow; l < listCount; l++ {
		if l.String() == text {
			return l, nil
		}
	}
	return 0, errors.New("list: write allow, block or test")
}

// Entry is one line of a list.
type Entry struct {
	List    List
	Target  Target
	Reason  string    // for people, up to 256 bytes
	Author  string    // who put it there, up to 128 bytes; a Store requires it
	Created time.Time // set by the Store
	Expires time.Time // the first moment at which the entry no longer counts; zero is never
}

const (
	maxReason = 256
	maxAuthor = 128
)

// fullNumber finds a number in free text, which would be on disk in clear.
var fullNumber = regexp.MustCompile(`\+[0-9]{7}`)

// check tells what is wrong with an entry that is about to be put in a set.
func (e Entry) check() error {
	switch {
	case e.List >= listCount:
		return errors.New("list: write allow, block or test")
	case e.Target.kind == 0:
		return errors.New("target: parse one with ParseTarget")
	case e.List == Test && (e.Target.kind == KindCountry || e.Target.kind == KindAddress):
		return fmt.Errorf("test list: %s: write a number, range or prefix", e.Target)
	case e.List != Block && e.Target.kind == KindAccount:
		return fmt.Errorf("%s list: %s: an account can only be blocked", e.List, e.Target)
	}
	if err := checkText("reason", e.Reason, maxReason); err != nil {
		return err
	}
	return checkText("author", e.Author, maxAuthor)
}

func checkText(field, text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%s: %d bytes: write %d at most", field, len(text), limit)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s: not valid UTF-8", field)
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return fmt.Errorf("%s: has a control character: write one line of text", field)
		}
	}
	if fullNumber.MatchString(text) {
		return fmt.Errorf("%s: holds a phone number: leave it out, this text is stored in clear", field)
	}
	return nil
}

// record is an Entry as a Set keeps it: 64 bytes without pointers. Texts are indexes into Set.texts.
type record struct {
	target           plain
	list             List
	account          uint32
	reason, author   uint32
	created, expires int64 // Unix nanoseconds; expires never is MaxInt64, created unknown is MinInt64
}

func nanos(t time.Time, zero int64) int64 {
	switch {
	case t.IsZero():
		return zero
	case t.Year() < 1678:
		return math.MinInt64 + 1
	case t.Year() > 2261: // UnixNano ends in 2262
		return math.MaxInt64 - 1
	}
	return t.UnixNano()
}

func moment(n, zero int64) time.Time {
	if n == zero {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
