package server_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

// operated is a server with lists and an operator's key, both nameless and named.
func operated(t *testing.T, policy string) (*running, sendgatev1.AdminServiceClient, *lockedBuffer) {
	t.Helper()
	live, err := lists.Open(t.TempDir(), make([]byte, gate.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	dir, audit := t.TempDir(), new(lockedBuffer)
	write(t, dir, "admin", keyAdmin+"\nalice "+keyB)
	r := start(t, setup{policy: policy, lists: live, options: func(o *server.Options) { o.Identity, o.Audit = book(t, o, dir), audit }})
	return r, sendgatev1.NewAdminServiceClient(r.conn), audit
}

const (
	allow = sendgatev1.ListKind_LIST_KIND_ALLOW
	block = sendgatev1.ListKind_LIST_KIND_BLOCK
	tests = sendgatev1.ListKind_LIST_KIND_TEST

	aNumber  = sendgatev1.EntryKind_ENTRY_KIND_NUMBER
	aRange   = sendgatev1.EntryKind_ENTRY_KIND_RANGE
	aPrefix  = sendgatev1.EntryKind_ENTRY_KIND_PREFIX
	aCountry = sendgatev1.EntryKind_ENTRY_KIND_COUNTRY
	anAddr   = sendgatev1.EntryKind_ENTRY_KIND_ADDRESS
	anAcct   = sendgatev1.EntryKind_ENTRY_KIND_ACCOUNT
)

func TestAdmin_lists(t *testing.T) {
	r, admin, audit := operated(t, `detect: {level: "off"}
limits: [{name: one, by: [number], limit: 1, window: 1h}]
lists: {block: [TH, "+6591234567"]}`)
	ctx := with(t.Context(), keyAdmin)
	add := func(list sendgatev1.ListKind, kind sendgatev1.EntryKind, values ...string) *sendgatev1.ListAddResponse {
		t.Helper()
		out, err := admin.ListAdd(ctx, &sendgatev1.ListAddRequest{List: list, Kind: kind, Values: values, Reason: "complaint", Author: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := add(block, aNumber, "+6581234567", "+65 8765 4321"); out.Added != 2 || out.Updated != 0 {
		t.Errorf("%v", out)
	}
	if out := add(block, aNumber, "65 8123-4567", "+6581111111"); out.Added != 1 || out.Updated != 1 {
		t.Errorf("the same number in another spelling: %v", out)
	}
	add(allow, aRange, "+6581111***")
	add(allow, aPrefix, "+6582")
	add(block, aCountry, "MY")
	add(block, anAddr, "203.0.113.66", "2001:db8:6::/48")
	add(tests, aPrefix, "+6599999*")

	for number, reason := range map[string]string{
		"+6581234567": "list:block", "+6587654321": "list:block", "+6581111111": "list:block", "+6581111112": "list:allow", "+6582000000": "list:allow",
		"+60123456789": "list:block", "+66812345678": "list:block", "+6599999123": "list:test", "+6585555555": "",
	} {
		if v := r.check(t, send(number, "203.0.113.7")); v.Reason != reason {
			t.Errorf("%s: %v %q, want %q", number, v.Verdict, v.Reason, reason)
		}
	}
	if v := r.check(t, send("+6585555556", "2001:db8:6::1")); v.Reason != "list:block" {
		t.Errorf("from a blocked address: %v", v)
	}

	// All pages together hold every entry once, what was added last at the end, and no number.
	var got []string
	page := &sendgatev1.ListEntriesRequest{PageSize: 4}
	for {
		out, err := admin.ListEntries(ctx, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Entries {
			got = append(got, fmt.Sprintf("%s %s %s %s", strings.TrimPrefix(e.List.String(), "LIST_KIND_"), strings.TrimPrefix(e.Kind.String(), "ENTRY_KIND_"), e.Value, e.Author))
			if (e.Source == sendgatev1.EntrySource_ENTRY_SOURCE_POLICY) != (e.CreatedAt == nil) {
				t.Errorf("%v", e)
			}
		}
		if page.PageToken = out.NextPageToken; page.PageToken == "" {
			break
		}
	}
	want := "BLOCK COUNTRY TH |BLOCK NUMBER +65****67 |BLOCK NUMBER +65****21 bob|BLOCK NUMBER +65****67 bob|BLOCK NUMBER +65****11 bob|" +
		"ALLOW RANGE +6581111*** bob|ALLOW PREFIX +6582* bob|BLOCK COUNTRY MY bob|BLOCK ADDRESS 203.0.113.66 bob|BLOCK ADDRESS 2001:db8:6::/48 bob|TEST PREFIX +6599999* bob"
	if all := strings.Join(got, "|"); all != want {
		t.Errorf("entries\n%s, want\n%s", all, want)
	}
	for _, tt := range []struct {
		in   *sendgatev1.ListEntriesRequest
		want int
	}{
		{&sendgatev1.ListEntriesRequest{List: allow}, 2},
		{&sendgatev1.ListEntriesRequest{Kind: aNumber}, 4},
		{&sendgatev1.ListEntriesRequest{Kind: aNumber, Value: "+65 8123 4567"}, 1},
		{&sendgatev1.ListEntriesRequest{Kind: aNumber, Value: "+6581234568"}, 0},
		{&sendgatev1.ListEntriesRequest{Kind: aPrefix, Value: "+6582"}, 1},
		{&sendgatev1.ListEntriesRequest{Account: "a"}, 0},
	} {
		if out, err := admin.ListEntries(ctx, tt.in); err != nil || len(out.Entries) != tt.want {
			t.Errorf("%v: %v, %v, want %d", tt.in, out, err, tt.want)
		}
	}

	remove := func(kind sendgatev1.EntryKind, values ...string) (*sendgatev1.ListRemoveResponse, error) {
		return admin.ListRemove(ctx, &sendgatev1.ListRemoveRequest{List: block, Kind: kind, Values: values, Reason: "settled", Author: "bob"})
	}
	if out, err := remove(aNumber, "+6587654321", "+6580000000"); err != nil || out.Removed != 1 {
		t.Errorf("remove: %v, %v", out, err)
	}
	if v := r.check(t, send("+6587654321", "203.0.113.7")); v.Reason != "" {
		t.Errorf("after that: %v", v)
	}
	if _, err := remove(aCountry, "MY", "TH"); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "TH") || strings.Contains(err.Error(), "MY") {
		t.Errorf("of the policy: %v", err)
	}
	if v := r.check(t, send("+60123456789", "203.0.113.7")); v.Reason != "list:block" {
		t.Errorf("a refused removal removed: %v", v)
	}

	// Both records tell who and why, and neither a number.
	if text := audit.String(); strings.Count(text, `"author":"bob","reason":"complaint"`) != 7 || !strings.Contains(text, `"change":"list_remove","author":"bob","reason":"settled","list":"block","values":["+65****21","+65****00"]`) {
		t.Errorf("audit:\n%s", text)
	}
	for _, text := range []string{audit.String(), r.log.String()} {
		if strings.Contains(text, "1234567") || strings.Contains(text, "7654321") || strings.Contains(text, "sgk_") {
			t.Errorf("a number or key in\n%s", text)
		}
	}
}

func TestAdmin_blocksAccounts(t *testing.T) {
	for name, tt := range map[string]struct {
		policy  string
		account string
		refused bool
	}{
		"no accounts in the policy": {"", "acme", false},
		"named":                     {"accounts: {acme: {}}", "acme", false},
		"unknown":                   {"accounts: {globex: {}}", "acme", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, admin, audit := operated(t, "detect: {level: \"off\"}\n"+tt.policy)
			ctx := with(t.Context(), keyAdmin)
			in := &sendgatev1.ListAddRequest{List: block, Kind: anAcct, Values: []string{tt.account}, Reason: "does not pay", Author: "bob"}
			_, err := admin.ListAdd(ctx, in)
			if tt.refused {
				if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "names accounts and this is none") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			asked := send("+6581234567", "203.0.113.7")
			asked.Account = tt.account
			if v := r.check(t, asked); v.Reason != "list:block" {
				t.Errorf("%v %q", v.Verdict, v.Reason)
			}
			if out, err := admin.ListEntries(ctx, &sendgatev1.ListEntriesRequest{Kind: anAcct}); err != nil || len(out.Entries) != 1 || out.Entries[0].Value != "account:acme" || out.Entries[0].Kind != anAcct {
				t.Errorf("%v, %v", out, err)
			}
			if !strings.Contains(audit.String(), `"values":["account:acme"]`) {
				t.Errorf("audit:\n%s", audit)
			}
			if out, err := admin.ListRemove(ctx, &sendgatev1.ListRemoveRequest{List: block, Kind: anAcct, Values: []string{"account:acme"}, Reason: "paid", Author: "bob"}); err != nil || out.Removed != 1 {
				t.Errorf("%v, %v", out, err)
			}
			in.List = allow
			if _, err := admin.ListAdd(ctx, in); status.Code(err) != codes.InvalidArgument {
				t.Errorf("on the allow list: %v", err)
			}
		})
	}
}

// A number that an operator writes into a reason in a national spelling is neither in the audit nor in the list nor in the log.
func TestAdmin_reasonsHoldNoNumber(t *testing.T) {
	r, admin, audit := operated(t, `detect: {level: "off"}
limits: [{name: sub, by: [account, subaccount], limit: 1, window: 1h}]`)
	ctx := with(t.Context(), keyAdmin)
	const reason, kept = "call of 8123 4567 about ticket 4711", "call of # about ticket 4711"
	if _, err := admin.ListAdd(ctx, &sendgatev1.ListAddRequest{List: block, Kind: aCountry, Values: []string{"TH"}, Reason: reason, Author: "bob (81234567)"}); err != nil {
		t.Fatal(err)
	}
	out, err := admin.ListEntries(ctx, &sendgatev1.ListEntriesRequest{})
	if err != nil || len(out.Entries) != 1 || out.Entries[0].Reason != kept || out.Entries[0].Author != "bob (#)" {
		t.Errorf("%v, %v", out, err)
	}
	if _, err := admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Account: "acme", Subaccount: "81234567", Reason: reason, Author: "bob"}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(audit.String(), `"reason":"`+kept+`"`) {
		t.Errorf("audit:\n%s", audit)
	}
	for _, text := range []string{audit.String(), r.log.String()} {
		if strings.Contains(text, "4567") {
			t.Errorf("a number in\n%s", text)
		}
	}
}

func TestAdmin_entriesEnd(t *testing.T) {
	var clock = &steps{t: time.Now().Add(-time.Hour)}
	live, err := lists.Open(t.TempDir(), make([]byte, gate.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	dir := t.TempDir()
	write(t, dir, "admin", keyAdmin)
	r := start(t, setup{policy: `limits: [{name: all, by: [account], limit: 1000, window: 1h}]`, clock: clock.now, lists: live,
		options: func(o *server.Options) { o.Identity = book(t, o, dir) }})
	admin := sendgatev1.NewAdminServiceClient(r.conn)
	ctx := with(t.Context(), keyAdmin)
	in := &sendgatev1.ListAddRequest{List: block, Kind: aCountry, Values: []string{"SG"}, Reason: "r", Author: "bob", ExpiresAt: timestamppb.New(clock.now().Add(time.Minute))}
	if _, err := admin.ListAdd(ctx, in); err != nil {
		t.Fatal(err)
	}
	v := r.check(t, send("+6581234567", "203.0.113.7"))
	if wait := v.RetryAfter.AsDuration(); v.Reason != "list:block" || wait != time.Minute {
		t.Errorf("%v", v)
	}
	clock.step(time.Minute)
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Reason != "" {
		t.Errorf("after its end: %v", v)
	}
	if out, err := admin.ListEntries(ctx, &sendgatev1.ListEntriesRequest{}); err != nil || len(out.Entries) != 0 {
		t.Errorf("an entry that ended is shown: %v, %v", out, err)
	}
	if _, err := admin.ListAdd(ctx, in); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an end that has passed: %v", err)
	}
}

func TestAdmin_resetAndStatus(t *testing.T) {
	r, admin, audit := operated(t, `detect: {level: "off"}
limits: [{name: one, by: [number], limit: 1, window: 1h}, {name: client, by: [client], limit: 9, window: 1h}]`)
	ctx := with(t.Context(), keyB) // of alice
	r.check(t, send("+6581234567", "203.0.113.7"))
	r.check(t, send("+6581234567", "203.0.113.7"))
	r.CheckSend(t.Context(), send("", ""))
	out, err := admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Number: "+65 8123 4567", Reason: "wrong caller"})
	if err != nil || fmt.Sprint(out.Rules) != "[one verify-number]" {
		t.Errorf("%v, %v", out, err)
	}
	if v := r.check(t, send("+6581234567", "203.0.113.7")); v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("after the reset: %v", v)
	}
	st, err := admin.Status(ctx, &sendgatev1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if c := st.Checks; c.Allowed != 2 || c.Denied != 1 || c.Challenged != 0 || c.Failed != 1 {
		t.Errorf("checks %v", c)
	}
	if !st.Ready || st.Version != "test" || st.Policy.Source != "test.yaml" || st.Policy.Version == "" || st.Policy.LoadedAt == nil || st.Store.Capacity == 0 || st.Store.Occupied == 0 || len(st.Warnings) != 0 {
		t.Errorf("status %v", st)
	}

	for field, err := range map[string]error{
		"reason: required":  second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Number: "+6581234567"})),
		"author: required":  second(admin.ResetKey(with(t.Context(), keyAdmin), &sendgatev1.ResetKeyRequest{Number: "+6581234567", Reason: "r"})),
		"author: the admin": second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Number: "+6581234567", Reason: "r", Author: "bob"})),
		"reason: holds a":   second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Number: "+6581234567", Reason: "for +6581234567"})),
		"reason: too long":  second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Number: "+6581234567", Reason: strings.Repeat("x", 257)})),
		"rule: no rule":     second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Reason: "r"})),
		"rule: the policy":  second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Rule: "two", Reason: "r"})),
		"number: ":          second(admin.ResetKey(ctx, &sendgatev1.ResetKeyRequest{Number: "12", Reason: "r"})),
		"list: write":       second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r"})),
		"kind: write":       second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r", List: block})),
		"values: write 1":   second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r", List: block, Kind: aNumber})),
		"values[1]: ":       second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r", List: block, Kind: aCountry, Values: []string{"SG", "nowhere"}})),
		"values[0]: this":   second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r", List: block, Kind: aRange, Values: []string{"+6581*"}})),
		"values: ":          second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r", List: tests, Kind: aCountry, Values: []string{"SG"}})),
		"account: lists":    second(admin.ListAdd(ctx, &sendgatev1.ListAddRequest{Reason: "r", List: block, Kind: aCountry, Values: []string{"SG"}, Account: "a"})),
		"page_size: write":  second(admin.ListEntries(ctx, &sendgatev1.ListEntriesRequest{PageSize: 1001})),
		"page_token: write": second(admin.ListEntries(ctx, &sendgatev1.ListEntriesRequest{PageToken: "-1"})),
		"kind: required":    second(admin.ListEntries(ctx, &sendgatev1.ListEntriesRequest{Value: "SG"})),
	} {
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "81234567") {
			t.Errorf("%v, want INVALID_ARGUMENT with %q", err, field)
		}
	}
	text := audit.String()
	if !strings.Contains(text, `"change":"reset_key","author":"alice","reason":"wrong caller","values":["number=+65****67"]`) || strings.Contains(text, "1234567") {
		t.Errorf("audit:\n%s", text)
	}
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }

// broken is a disk that is full.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// There is no change without its line.
func TestAdmin_noChangeWithoutItsAudit(t *testing.T) {
	live, err := lists.Open(t.TempDir(), make([]byte, gate.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	dir := t.TempDir()
	write(t, dir, "admin", keyAdmin)
	r := start(t, setup{lists: live, options: func(o *server.Options) { o.Identity, o.Audit = book(t, o, dir), broken{} }})
	_, err = sendgatev1.NewAdminServiceClient(r.conn).ListAdd(with(t.Context(), keyAdmin), &sendgatev1.ListAddRequest{List: block, Kind: aCountry, Values: []string{"SG"}, Reason: "r", Author: "bob"})
	if status.Code(err) != codes.Internal || live.Snapshot().Len() != 0 || !strings.Contains(r.log.String(), "no space left") {
		t.Errorf("%v, %d entries, log %s", err, live.Snapshot().Len(), r.log)
	}
}

// steps is a clock that a test sets.
type steps struct {
	mu sync.Mutex
	t  time.Time
}

func (s *steps) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.t
}

func (s *steps) step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t = s.t.Add(d)
}
