package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sendgate/sendgate/internal/identity"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

const (
	keyA     = "sgk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	keyB     = "sgk_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	keyAdmin = "sgk_ddddddddddddddddddddddddddddddddddddddddddd"
)

// twoAccounts is a policy with accounts a and b, whose keys are in files of a directory, and an operator.
func twoAccounts(t *testing.T) (setup, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "a", keyA)
	write(t, dir, "b", keyB)
	write(t, dir, "admin", "alice "+keyAdmin)
	s := setup{policy: fmt.Sprintf("detect: {level: off}\nlimits: [{name: number-minute, by: [number], limit: 1, window: 60s}]\naccounts: {a: {keys_from_file: %q}, b: {keys_from_file: %q}}", dir+"/a", dir+"/b")}
	s.options = func(o *server.Options) { o.Identity = book(t, o, dir) }
	return s, dir
}

func book(t *testing.T, o *server.Options, dir string) *identity.Book {
	t.Helper()
	b := identity.New(identity.Options{Getenv: os.Getenv, ReadFile: os.ReadFile, AdminKeyFile: filepath.Join(dir, "admin")})
	if _, err := b.Load(o.Gate.Policy().Accounts); err != nil {
		t.Fatal(err)
	}
	return b
}

// write replaces a file as careful programs do: nobody reads half of it.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".new"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func with(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

// Whatever methods there are or will be: none answers a stranger, and none an owner of the wrong kind of key.
func TestIdentity_everyMethodHasADoor(t *testing.T) {
	s, _ := twoAccounts(t)
	r := start(t, s)
	call := func(method string, stream bool, key string) error {
		ctx := with(t.Context(), key)
		if !stream {
			return r.conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
		}
		c, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			return err
		}
		c.CloseSend()
		return c.RecvMsg(&emptypb.Empty{})
	}
	const forged = "sgk_eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
	for service, wrong := range map[*grpc.ServiceDesc][2]string{
		&sendgatev1.SendGateService_ServiceDesc: {keyAdmin, "NO_ACCOUNT"},
		&sendgatev1.AdminService_ServiceDesc:    {keyA, "ADMIN_ONLY"},
	} {
		methods := map[string]bool{}
		for _, m := range service.Methods {
			methods[m.MethodName] = false
		}
		for _, m := range service.Streams {
			methods[m.StreamName] = true
		}
		for name, stream := range methods {
			method := "/" + service.ServiceName + "/" + name
			for _, tt := range []struct {
				key    string
				code   codes.Code
				reason string
			}{
				{"", codes.Unauthenticated, "KEY_MISSING"},
				{forged, codes.Unauthenticated, "KEY_UNKNOWN"},
				{"short", codes.Unauthenticated, "KEY_MALFORMED"},
				{wrong[0], codes.PermissionDenied, wrong[1]},
			} {
				if err := call(method, stream, tt.key); status.Code(err) != tt.code || reasonOf(err) != tt.reason {
					t.Errorf("%s with %.8q: %v %s, want %v %s", method, tt.key, err, reasonOf(err), tt.code, tt.reason)
				}
			}
		}
	}
	if _, err := healthgrpc.NewHealthClient(r.conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
}

// The key of A does nothing for B, by any method.
func TestIdentity_noMethodActsForAnother(t *testing.T) {
	s, _ := twoAccounts(t)
	r := start(t, s)
	asA, asB := with(t.Context(), keyA), with(t.Context(), keyB)
	ofB := send("+6581234567", "203.0.113.7")
	ofB.Account = "b"
	mine, err := r.CheckSend(asB, ofB)
	if err != nil || mine.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Fatalf("b for itself: %v, %v", mine, err)
	}
	item := func(e *sendgatev1.ItemError) error { return status.Error(codes.Code(e.GetCode()), e.GetReason()) }
	admin := sendgatev1.NewAdminServiceClient(r.conn)
	methods := map[string]func() error{
		"CheckSend": func() error { _, err := r.CheckSend(asA, ofB); return err },
		"CheckSendBatch": func() error {
			out, err := r.CheckSendBatch(asA, &sendgatev1.CheckSendBatchRequest{Items: []*sendgatev1.CheckSendRequest{ofB}})
			if err == nil {
				err = item(out.Items[0].Error)
			}
			return err
		},
		"CheckSendStream": func() error {
			stream, err := r.CheckSendStream(asA)
			if err != nil {
				return err
			}
			defer stream.CloseSend()
			stream.Send(&sendgatev1.CheckSendStreamRequest{Check: ofB})
			out, err := stream.Recv()
			if err == nil {
				err = item(out.Error)
			}
			return err
		},
		"CheckVerify": func() error {
			_, err := r.CheckVerify(asA, &sendgatev1.CheckVerifyRequest{Number: ofB.Number, Account: "b"})
			return err
		},
		"ReportOutcome": func() error {
			_, err := r.ReportOutcome(asA, &sendgatev1.ReportOutcomeRequest{CheckId: mine.CheckId, Outcome: sendgatev1.Outcome_OUTCOME_NOT_SENT})
			return err
		},
		"ReportOutcomeBatch": func() error {
			out, err := r.ReportOutcomeBatch(asA, &sendgatev1.ReportOutcomeBatchRequest{Items: []*sendgatev1.ReportOutcomeRequest{{CheckId: mine.CheckId, Outcome: sendgatev1.Outcome_OUTCOME_NOT_SENT}}})
			if err == nil {
				err = item(out.Items[0].Error)
			}
			return err
		},
		"ReportOutcomeStream": func() error {
			stream, err := r.ReportOutcomeStream(asA)
			if err != nil {
				return err
			}
			defer stream.CloseSend()
			stream.Send(&sendgatev1.ReportOutcomeStreamRequest{Report: &sendgatev1.ReportOutcomeRequest{CheckId: mine.CheckId, Outcome: sendgatev1.Outcome_OUTCOME_NOT_SENT}})
			out, err := stream.Recv()
			if err == nil {
				err = item(out.Error)
			}
			return err
		},
		"ReportInbound": func() error {
			_, err := r.ReportInbound(asA, &sendgatev1.ReportInboundRequest{Number: ofB.Number, Account: "b", Text: "STOP"})
			return err
		},
		"Status": func() error { _, err := admin.Status(asA, &sendgatev1.StatusRequest{}); return err },
		"ResetKey": func() error {
			_, err := admin.ResetKey(asA, &sendgatev1.ResetKeyRequest{Account: "b", Number: ofB.Number, Reason: "r", Author: "a"})
			return err
		},
		"ListAdd": func() error {
			_, err := admin.ListAdd(asA, &sendgatev1.ListAddRequest{List: sendgatev1.ListKind_LIST_KIND_ALLOW, Kind: sendgatev1.EntryKind_ENTRY_KIND_NUMBER, Values: []string{ofB.Number}, Reason: "r", Author: "a"})
			return err
		},
		"ListRemove": func() error {
			_, err := admin.ListRemove(asA, &sendgatev1.ListRemoveRequest{List: sendgatev1.ListKind_LIST_KIND_ALLOW, Kind: sendgatev1.EntryKind_ENTRY_KIND_NUMBER, Values: []string{ofB.Number}, Reason: "r", Author: "a"})
			return err
		},
		"ListEntries": func() error { _, err := admin.ListEntries(asA, &sendgatev1.ListEntriesRequest{}); return err },
		"ExplainSend": func() error {
			_, err := admin.ExplainSend(asA, &sendgatev1.ExplainSendRequest{Check: ofB})
			return err
		},
		"RecentDecisions": func() error {
			_, err := admin.RecentDecisions(asA, &sendgatev1.RecentDecisionsRequest{Account: "b"})
			return err
		},
		"ReloadPolicy": func() error {
			_, err := admin.ReloadPolicy(asA, &sendgatev1.ReloadPolicyRequest{Reason: "r", Author: "a"})
			return err
		},
	}
	for _, service := range []grpc.ServiceDesc{sendgatev1.SendGateService_ServiceDesc, sendgatev1.AdminService_ServiceDesc} {
		var names []string
		for _, m := range service.Methods {
			names = append(names, m.MethodName)
		}
		for _, m := range service.Streams {
			names = append(names, m.StreamName)
		}
		for _, name := range names {
			try, ok := methods[name]
			if !ok {
				t.Errorf("%s is not tried: say what the key of A could ask it about B", name)
				continue
			}
			// What is not built yet does nothing for anybody.
			if err := try(); status.Code(err) != codes.PermissionDenied && status.Code(err) != codes.Unimplemented {
				t.Errorf("%s: %v, want PERMISSION_DENIED", name, err)
			}
		}
	}
	// And nothing of it was charged to B: his number is as he left it, and so is his report.
	if v, err := r.CheckSend(asB, ofB); err != nil || v.Reason != "limit:number-minute" {
		t.Errorf("b again: %v, %v", v, err)
	}
	own := send("+6581234568", "203.0.113.7")
	if v, err := r.CheckSend(asA, own); err != nil || v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("a for itself, unnamed: %v, %v", v, err)
	}
}

func TestIdentity_overHTTP(t *testing.T) {
	s, _ := twoAccounts(t)
	r := start(t, s)
	const body = `{"number":"+6581234567","clientAddress":"203.0.113.7","account":"b"}`
	for _, tt := range []struct {
		path, key string
		status    int
		says      string
	}{
		{"/v1/check", "", 401, "KEY_MISSING"},
		{"/v1/check", keyAdmin, 403, "NO_ACCOUNT"},
		{"/v1/check", keyA, 403, "ACCOUNT_OTHER"},
		{"/v1/check", keyB, 200, "VERDICT_ALLOW"},
		{"/sendgate.v1.SendGateService/CheckSend", "", 401, "unauthenticated"},
		{"/sendgate.v1.SendGateService/CheckSend", keyA, 403, "permission_denied"},
		{"/sendgate.v1.AdminService/Status", "", 401, ""},
		{"/sendgate.v1.AdminService/Status", keyA, 403, "ADMIN_ONLY"},
		{"/sendgate.v1.AdminService/Status", keyAdmin, 200, "uptime"},
		{"//sendgate.v1.AdminService/Status", keyA, 403, "ADMIN_ONLY"}, // after a redirect
		{"/nowhere", "", 401, ""},
		{"/healthz", "", 200, ""},
		{"/readyz", "", 200, ""},
		{"/metrics", "", 200, ""},
	} {
		method, sent := "POST", body
		if tt.status == 200 && tt.key == "" {
			method = "GET"
		} else if strings.Contains(tt.path, "Status") {
			sent = "{}"
		}
		headers := []string{"Content-Type", "application/json"}
		if tt.key != "" {
			headers = append(headers, "Authorization", "Bearer "+tt.key)
		}
		res := r.do(t, method, tt.path, sent, headers...)
		text := read(t, res)
		if res.StatusCode != tt.status || !strings.Contains(strings.ToLower(text), strings.ToLower(tt.says)) && !strings.Contains(tt.path, "SendGateService") {
			t.Errorf("%s with %.8q: %s %s, want %d %s", tt.path, tt.key, res.Status, text, tt.status, tt.says)
		}
		if (res.StatusCode == 401) != (res.Header.Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s: WWW-Authenticate %q with %s", tt.path, res.Header.Get("WWW-Authenticate"), res.Status)
		}
	}
	if log := r.log.String(); strings.Contains(log, "sgk_") {
		t.Errorf("the log shows a key: %s", log)
	}
}

func TestIdentity_addressesOfAnAccount(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "admin", "")
	s := setup{policy: `accounts: {near: {allow_addresses: [127.0.0.0/8], keys: ["` + identity.HashKey(keyA) + `"]}, far: {allow_addresses: [198.51.100.0/24], keys: ["` + identity.HashKey(keyB) + `"]}}`}
	s.options = func(o *server.Options) { o.Identity = book(t, o, dir) }
	r := start(t, s)
	if v, err := r.CheckSend(with(t.Context(), keyA), send("+6581234567", "198.51.100.7")); err != nil || v.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
		t.Errorf("near: %v, %v", v, err)
	}
	// The client's address is not the caller's, and X-Forwarded-For does not move him.
	ctx := metadata.AppendToOutgoingContext(with(t.Context(), keyB), "x-forwarded-for", "198.51.100.7")
	if _, err := r.CheckSend(ctx, send("+6581234568", "198.51.100.7")); status.Code(err) != codes.PermissionDenied || reasonOf(err) != "ADDRESS_NOT_ALLOWED" {
		t.Errorf("far: %v", err)
	}
}

// A key is replaced in its file while calls go on: no call with a key that is in force fails, and the old key stops.
func TestIdentity_rotationUnderLoad(t *testing.T) {
	const keyNew = "sgk_nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
	s, dir := twoAccounts(t)
	r := start(t, s)
	var current atomic.Pointer[string]
	use := func(key string) { current.Store(&key) }
	use(keyA)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var calls atomic.Int64
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.CheckSend(with(t.Context(), *current.Load()), send("+6581234567", "203.0.113.7")); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	stream, err := r.CheckSendStream(with(t.Context(), keyA)) // opened with the old key
	if err != nil {
		t.Fatal(err)
	}
	// until asks until the answer for a key is right: the file has been read.
	until := func(key string, code codes.Code) {
		t.Helper()
		for ctx.Err() == nil {
			_, err := r.CheckSend(with(ctx, key), send("+6581234567", "203.0.113.7"))
			if status.Code(err) == code {
				return
			}
		}
	}
	for range 5 {
		write(t, dir, "a", keyA+"\n"+keyNew)
		until(keyNew, codes.OK)
		use(keyNew)
		write(t, dir, "a", keyNew)
		until(keyA, codes.Unauthenticated)
		write(t, dir, "a", keyA+"\n"+keyNew)
		until(keyA, codes.OK)
		use(keyA)
		write(t, dir, "a", keyA)
		until(keyNew, codes.Unauthenticated)
	}
	use(keyA)
	stop()
	load.Wait()
	if calls.Load() == 0 {
		t.Error("no call was made meanwhile")
	}

	// The stream goes on with its key, and ends with it.
	question := &sendgatev1.CheckSendStreamRequest{Check: send("+6581234567", "203.0.113.7")}
	if err := stream.Send(question); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("the stream: %v", err)
	}
	write(t, dir, "a", keyNew)
	for {
		if _, err := r.CheckSend(with(t.Context(), keyA), send("+6581234567", "203.0.113.7")); err != nil {
			break
		}
	}
	stream.Send(question)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of a removed key: %v, want UNAUTHENTICATED", err)
	}
	if log := r.log.String(); strings.Contains(log, "sgk_") || !strings.Contains(log, "keys were read again") {
		t.Errorf("log: %s", log)
	}
}

// A file that cannot be read leaves the last good keys in force and is told.
func TestIdentity_brokenFileKeepsTheLastGood(t *testing.T) {
	s, dir := twoAccounts(t)
	r := start(t, s)
	write(t, dir, "a", "short")
	for !strings.Contains(r.log.String(), "those of before stay in force") {
		if _, err := r.CheckSend(with(t.Context(), keyA), send("+6581234567", "203.0.113.7")); err != nil {
			t.Fatal(err)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "/a:1: a key of 5 characters") {
		t.Errorf("log: %s", log)
	}
	write(t, dir, "a", keyA+"x")
	for {
		if _, err := r.CheckSend(with(t.Context(), keyA+"x"), send("+6581234567", "203.0.113.7")); err == nil {
			break
		}
	}
}

// Where nobody is asked, a header that is somebody else's does no harm, and operators still need their key.
func TestIdentity_open(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "admin", keyAdmin)
	r := start(t, setup{options: func(o *server.Options) { o.Identity = book(t, o, dir) }})
	if _, err := r.CheckSend(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Basic dXNlcjpwYXNz"), send("+6581234567", "203.0.113.7")); err != nil {
		t.Error(err)
	}
	admin := sendgatev1.NewAdminServiceClient(r.conn)
	if _, err := admin.Status(t.Context(), &sendgatev1.StatusRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("status without a key: %v", err)
	}
	if _, err := admin.Status(with(t.Context(), keyAdmin), &sendgatev1.StatusRequest{}); err != nil {
		t.Errorf("status with the key: %v", err)
	}
}
