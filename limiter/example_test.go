package limiter_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// Two rules by number and one by account are one decision: all are charged or none.
func Example() {
	ctx := context.Background()
	table, err := limiter.Open(limiter.Options{Size: 16 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()
	rules, err := table.Define(ctx, []limiter.Limit{
		{Name: "minute", Group: "number", N: 1, Window: time.Minute},
		{Name: "half hour", Group: "number", N: 10, Window: 30 * time.Minute},
		{Name: "second", Group: "account", N: 1800, Window: time.Second},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	number, account := table.Key([]byte("+6591234567")), table.Key([]byte("acme"))
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for range 2 {
		d, err := table.Take(ctx, now, []limiter.Charge{
			{Rule: rules[0], Key: number, Cost: 1},
			{Rule: rules[1], Key: number, Cost: 1},
			{Rule: rules[2], Key: account, Cost: 1},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Allowed, rules[d.Binding].Limit().Name, d.Remaining, d.RetryAfter)
		now = now.Add(20 * time.Second)
	}
	// Output:
	// true minute 0 0s
	// false minute 0 40s
}

// What was not sent after all is given back.
func ExampleTable_Refund() {
	ctx := context.Background()
	table, err := limiter.Open(limiter.Options{Size: 16 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()
	rules, err := table.Define(ctx, []limiter.Limit{{Name: "minute", Group: "number", N: 1, Window: time.Minute}})
	if err != nil {
		fmt.Println(err)
		return
	}
	charges := []limiter.Charge{{Rule: rules[0], Key: table.Key([]byte("+6591234567")), Cost: 1}}
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	d, err := table.Take(ctx, now, charges)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := table.Refund(ctx, d.At, charges); err != nil {
		fmt.Println(err)
		return
	}
	d, err = table.Take(ctx, now.Add(time.Second), charges)
	fmt.Println(d.Allowed, err)
	// Output: true <nil>
}

// A look tells how much is held and when more fits, and changes nothing.
func ExampleTable_Peek() {
	ctx := context.Background()
	table, err := limiter.Open(limiter.Options{Size: 16 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()
	rules, err := table.Define(ctx, []limiter.Limit{{Name: "day", Group: "account", N: 5, Window: 24 * time.Hour}})
	if err != nil {
		fmt.Println(err)
		return
	}
	charge := limiter.Charge{Rule: rules[0], Key: table.Key([]byte("acme")), Cost: 3}
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	if _, err := table.Take(ctx, now, []limiter.Charge{charge}); err != nil {
		fmt.Println(err)
		return
	}
	u, err := table.Peek(ctx, now.Add(time.Hour), charge)
	fmt.Println(u.Held, u.RetryAfter, err)
	// Output: 3 23h0m0s <nil>
}
