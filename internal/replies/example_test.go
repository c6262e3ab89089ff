package replies_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sendgate/sendgate/internal/replies"
)

func Example() {
	table, err := replies.Open(replies.Options{Size: 1 << 20, Secret: []byte("a secret of this installation")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()

	ask := func(now time.Time, key, body string) string {
		call, err := table.Begin(context.Background(), now, replies.Question{Account: "acme", Key: key, Body: table.Sum([]byte(body))}, nil)
		if err != nil {
			return err.Error()
		}
		defer call.Abandon() // does nothing after Finish
		switch call.State {
		case replies.Done:
			return "again: " + string(call.Reply)
		case replies.Conflict:
			return "this key was used for something else"
		}
		verdict := "allow" // and it is charged
		if err := call.Finish([]byte(verdict)); err != nil {
			return err.Error()
		}
		return verdict
	}

	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	fmt.Println(ask(now, "8f14e45f", "to A"))
	fmt.Println(ask(now.Add(time.Second), "8f14e45f", "to A"))
	fmt.Println(ask(now.Add(time.Second), "8f14e45f", "to B"))
	fmt.Println(ask(now.Add(10*time.Minute), "8f14e45f", "to B"))
	// Output:
	// allow
	// again: allow
	// this key was used for something else
	// allow
}
