package server

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/phone"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	maxValues   = 10_000
	maxPage     = 1000
	defaultPage = 100
)

// ListAdd puts values on a list, all or none.
func (a *admin) ListAdd(ctx context.Context, in *sendgatev1.ListAddRequest) (*sendgatev1.ListAddResponse, error) {
	entry, err := a.change(ctx, "list_add", in.Reason, in.Author)
	if err != nil {
		return nil, err
	}
	list, targets, err := a.values(in.List, in.Kind, in.Account, in.Values)
	if err != nil {
		return nil, err
	}
	if err := a.knowAccounts(targets); err != nil {
		return nil, err
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	entry.fill(list, targets)
	now := entry.Time
	if in.ExpiresAt != nil {
		if entry.Expires = in.ExpiresAt.AsTime(); in.ExpiresAt.CheckValid() != nil || !entry.Expires.After(now) {
			return nil, invalid("expires_at", "has passed: write a time to come, or leave it out")
		}
	}
	known, out := a.lists.Snapshot(), new(sendgatev1.ListAddResponse)
	entries := make([]lists.Entry, len(targets))
	for i, t := range targets {
		entries[i] = lists.Entry{List: list, Target: t, Reason: entry.Reason, Author: entry.Author, Expires: entry.Expires}
		if old, there := known.Find(list, t); there && !ended(old, now) {
			out.Updated++
		} else {
			out.Added++
		}
	}
	if _, err := lists.NewSet(entries...); err != nil { // what a list takes, and no value twice
		return nil, invalid("values", err.Error())
	}
	err = a.audit.around(entry, func() error {
		_, err := a.lists.Add(now, entries...)
		return err
	})
	if err != nil {
		return nil, failureOf(err, a.log)
	}
	return out, nil
}

// ListRemove takes values off a list.
func (a *admin) ListRemove(ctx context.Context, in *sendgatev1.ListRemoveRequest) (*sendgatev1.ListRemoveResponse, error) {
	entry, err := a.change(ctx, "list_remove", in.Reason, in.Author)
	if err != nil {
		return nil, err
	}
	list, targets, err := a.values(in.List, in.Kind, in.Account, in.Values)
	if err != nil {
		return nil, err
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	entry.fill(list, targets)
	var fixed []string
	for _, t := range targets {
		if _, there := a.gate.PolicyLists().Find(list, t); there {
			fixed = append(fixed, t.String())
		}
	}
	if len(fixed) > 0 {
		return nil, &failure{code: codes.FailedPrecondition, reason: "LIST_OF_POLICY",
			message: "the policy file has " + strings.Join(fixed[:min(len(fixed), 10)], ", ") + ": take it out there"}
	}
	out := new(sendgatev1.ListRemoveResponse)
	err = a.audit.around(entry, func() error {
		for _, t := range targets {
			old, there, err := a.lists.Remove(entry.Time, list, t, entry.Reason, entry.Author)
			if err != nil {
				return err
			}
			if there && !ended(old, entry.Time) {
				out.Removed++
			}
		}
		return nil
	})
	if err != nil {
		return nil, failureOf(err, a.log)
	}
	return out, nil
}

// ListEntries reads a page. Its token is how many entries came before: what is removed between two pages may hide an entry
// that was there all the time, nothing is shown twice that was not added anew.
func (a *admin) ListEntries(ctx context.Context, in *sendgatev1.ListEntriesRequest) (*sendgatev1.ListEntriesResponse, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	size, skip := int(in.PageSize), 0
	switch {
	case size == 0:
		size = defaultPage
	case size < 0 || size > maxPage:
		return nil, invalid("page_size", "write 1 to 1,000, or leave it out for 100")
	}
	if in.PageToken != "" {
		n, err := strconv.Atoi(in.PageToken)
		if err != nil || n < 0 {
			return nil, invalid("page_token", "write the next_page_token of the page before")
		}
		skip = n
	}
	wanted, err := a.filter(in)
	if err != nil {
		return nil, err
	}
	out, at := new(sendgatev1.ListEntriesResponse), 0
	if in.Account != "" {
		return out, nil // lists hold for every account
	}
	now := a.gate.Now()
	for e, source := range a.entries() {
		if ended(e, now) || !wanted(e) {
			continue
		}
		if at++; at <= skip {
			continue
		}
		if len(out.Entries) == size {
			out.NextPageToken = strconv.Itoa(skip + size)
			break
		}
		out.Entries = append(out.Entries, toEntry(e, source))
	}
	return out, nil
}

// entries yields those of the policy, then those of run time.
func (a *admin) entries() iter.Seq2[lists.Entry, sendgatev1.EntrySource] {
	return func(yield func(lists.Entry, sendgatev1.EntrySource) bool) {
		for e := range a.gate.PolicyLists().All() {
			if !yield(e, sendgatev1.EntrySource_ENTRY_SOURCE_POLICY) {
				return
			}
		}
		if a.lists == nil {
			return
		}
		for e := range a.lists.Snapshot().All() {
			if !yield(e, sendgatev1.EntrySource_ENTRY_SOURCE_RUN_TIME) {
				return
			}
		}
	}
}

// filter is which entries a request asks for.
func (a *admin) filter(in *sendgatev1.ListEntriesRequest) (func(lists.Entry) bool, error) {
	list, anyList := lists.List(0), in.List == sendgatev1.ListKind_LIST_KIND_UNSPECIFIED
	if !anyList {
		var err error
		if list, err = listOf(in.List); err != nil {
			return nil, err
		}
	}
	kind, anyKind := lists.Kind(0), in.Kind == sendgatev1.EntryKind_ENTRY_KIND_UNSPECIFIED
	if !anyKind {
		var err error
		if kind, err = kindOf(in.Kind); err != nil {
			return nil, err
		}
	}
	var same map[lists.Target]bool // a number is another target on each list and in each source
	if in.Value != "" {
		if anyKind {
			return nil, invalid("kind", "required with value: it says how the value is read")
		}
		t, err := a.target(kind, in.Value)
		if err != nil {
			return nil, invalid("value", err.Error())
		}
		same = map[lists.Target]bool{t: true}
		for l := lists.Allow; l <= lists.Test; l++ {
			if a.lists == nil {
				break
			}
			if e, there := a.lists.Snapshot().Find(l, t); there {
				same[e.Target] = true
			}
		}
	}
	return func(e lists.Entry) bool {
		return (anyList || e.List == list) && (anyKind || e.Target.Kind() == kind) && (same == nil || same[e.Target])
	}, nil
}

// knowAccounts refuses to list an account that the policy does not name, if it names any: nothing would be stopped.
func (a *admin) knowAccounts(targets []lists.Target) error {
	accounts := a.gate.Policy().Accounts
	var bad []gate.Violation
	for i, t := range targets {
		if t.Kind() == lists.KindAccount && len(accounts) > 0 && accounts[t.Account()] == nil {
			bad = append(bad, gate.Violation{Field: fmt.Sprintf("values[%d]", i), Reason: "ACCOUNT_UNKNOWN",
				Description: "the policy names accounts and this is none of them: write one that it names"})
		}
	}
	if len(bad) > 0 {
		return failureOf(&gate.InvalidError{Violations: bad[:min(len(bad), 100)]}, a.log)
	}
	return nil
}

func (e *auditEntry) fill(list lists.List, targets []lists.Target) {
	e.List = list.String()
	for _, t := range targets {
		e.Values = append(e.Values, t.String())
	}
}

func ended(e lists.Entry, now time.Time) bool { return !e.Expires.IsZero() && !e.Expires.After(now) }

func toEntry(e lists.Entry, source sendgatev1.EntrySource) *sendgatev1.ListEntry {
	out := &sendgatev1.ListEntry{Value: e.Target.String(), Reason: e.Reason, Author: e.Author, Source: source}
	out.List = map[lists.List]sendgatev1.ListKind{lists.Allow: sendgatev1.ListKind_LIST_KIND_ALLOW, lists.Block: sendgatev1.ListKind_LIST_KIND_BLOCK,
		lists.Test: sendgatev1.ListKind_LIST_KIND_TEST}[e.List]
	out.Kind = sendgatev1.EntryKind(e.Target.Kind()) // both count number, range, prefix, country, address, account from 1
	if !e.Created.IsZero() {
		out.CreatedAt = timestamppb.New(e.Created)
	}
	if !e.Expires.IsZero() {
		out.ExpiresAt = timestamppb.New(e.Expires)
	}
	return out
}

func listOf(l sendgatev1.ListKind) (lists.List, error) {
	switch l {
	case sendgatev1.ListKind_LIST_KIND_ALLOW:
		return lists.Allow, nil
	case sendgatev1.ListKind_LIST_KIND_BLOCK:
		return lists.Block, nil
	case sendgatev1.ListKind_LIST_KIND_TEST:
		return lists.Test, nil
	}
	return 0, invalid("list", "write LIST_KIND_ALLOW, LIST_KIND_BLOCK or LIST_KIND_TEST")
}

func kindOf(k sendgatev1.EntryKind) (lists.Kind, error) {
	if k < sendgatev1.EntryKind_ENTRY_KIND_NUMBER || k > sendgatev1.EntryKind_ENTRY_KIND_ACCOUNT {
		return 0, invalid("kind", "write ENTRY_KIND_NUMBER, _RANGE, _PREFIX, _COUNTRY, _ADDRESS or _ACCOUNT")
	}
	return lists.Kind(k), nil
}

// values reads what a change is about.
func (a *admin) values(l sendgatev1.ListKind, k sendgatev1.EntryKind, account string, values []string) (lists.List, []lists.Target, error) {
	list, err := listOf(l)
	if err != nil {
		return 0, nil, err
	}
	kind, err := kindOf(k)
	if err != nil {
		return 0, nil, err
	}
	switch {
	case a.lists == nil:
		return 0, nil, &failure{code: codes.FailedPrecondition, reason: "NO_LISTS", message: "this gate keeps no lists at run time"}
	case account != "":
		return 0, nil, invalid("account", "lists hold for every account: leave it out")
	case len(values) < 1 || len(values) > maxValues:
		return 0, nil, invalid("values", "write 1 to 10,000 values")
	}
	targets := make([]lists.Target, len(values))
	var bad []gate.Violation
	for i, v := range values {
		if targets[i], err = a.target(kind, v); err != nil {
			bad = append(bad, gate.Violation{Field: fmt.Sprintf("values[%d]", i), Reason: "VALUE_INVALID", Description: err.Error()})
		}
	}
	if len(bad) > 0 {
		return 0, nil, failureOf(&gate.InvalidError{Violations: bad[:min(len(bad), 100)]}, a.log)
	}
	return list, targets, nil
}

// target reads a value of a kind. A number may be spelled in any way, and a prefix without its star.
func (a *admin) target(kind lists.Kind, text string) (lists.Target, error) {
	switch kind {
	case lists.KindNumber:
		n, err := phone.Parse(text[:min(len(text), 65)], a.gate.Policy().Numbers.DefaultRegion)
		if err != nil {
			return lists.Target{}, err
		}
		text = n.E164()
	case lists.KindPrefix:
		if !strings.HasSuffix(text, "*") {
			text += "*"
		}
	case lists.KindAccount:
		if !strings.HasPrefix(text, "account:") {
			text = "account:" + text
		}
	}
	t, err := lists.ParseTarget(text)
	if err == nil && t.Kind() != kind {
		err = fmt.Errorf("this is a %s, and kind says %s", t.Kind(), kind)
	}
	return t, err
}
