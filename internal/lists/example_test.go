package lists_test

import (
	"fmt"
	"os"
	"time"

	"github.com/sendgate/sendgate/internal/lists"
)

func ExampleSet_Lookup() {
	target, err := lists.ParseTarget("+6591234***")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := lists.NewSet(lists.Entry{List: lists.Block, Target: target, Reason: "pumping in May", Author: "kim"})
	if err != nil {
		fmt.Println(err)
		return
	}
	standing, by := set.Lookup(lists.Query{Number: 6591234567, Country: "SG"}, time.Now()).Standing()
	fmt.Println(standing == lists.Blocked, by.Entry().Target, by.Entry().Reason)
	// Output: true +6591234*** pumping in May
}

func ExampleStore_Add() {
	dir, err := os.MkdirTemp("", "lists")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := lists.Open(dir, []byte("16 bytes or more"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	target, err := lists.ParseTarget("+6591234567")
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()
	_, err = store.Add(now, lists.Entry{List: lists.Allow, Target: target, Author: "kim", Expires: now.Add(time.Hour)})
	result := store.Lookup(lists.Query{Number: 6591234567}, now)
	fmt.Println(err, result.Allow.OK(), result.Allow.Match().Entry().Target)
	// Output: <nil> true +65****67
}
