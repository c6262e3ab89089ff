package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sendgate/sendgate/client"
)

// Sendgate runs beside the service: here in the same process, in production "127.0.0.1:7070".
func Example() {
	addr, stop, err := serve("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	gate, err := client.New(addr, client.Options{Timeout: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()

	ctx := context.Background()
	for range 2 {
		verdict, err := gate.Check(ctx, client.Send{Number: "+6581234567", ClientAddress: "203.0.113.7", Endpoint: "login"})
		switch {
		case err != nil:
			fmt.Println("put this right:", err)
		case verdict.Kind == client.Challenge:
			fmt.Println("show a CAPTCHA, then ask with ChallengePassed")
		case !verdict.Allowed():
			fmt.Println("not now:", verdict.Reason, "again in", verdict.RetryAfter)
		default:
			fmt.Println("send it; answered by the gate:", verdict.Answered)
			// Keep verdict.CheckID with the code; when it is entered:
			//	gate.Report(ctx, client.Report{CheckID: checkID, Outcome: client.Verified})
		}
	}
	// Output:
	// send it; answered by the gate: true
	// not now: limit:number-minute again in 1m0s
}

// Nobody answers: the verdict is that of the fail mode, and says so.
func ExampleClient_Check_failMode() {
	for _, mode := range []client.FailMode{client.FailOpen, client.FailClosed} {
		gate, err := client.New("unix:/nobody/is/here", client.Options{
			FailMode:     mode,
			OnUnanswered: func(error) { /* count it */ },
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		verdict, err := gate.Check(context.Background(), client.Send{Number: "+6581234567"})
		fmt.Println(verdict.Kind, verdict.Answered, verdict.Reason, err)
		gate.Close()
	}
	// Output:
	// VERDICT_ALLOW false gate:unreachable <nil>
	// VERDICT_DENY false gate:unreachable <nil>
}

// The service's own endpoint that sends codes, with the guard before it.
func ExampleGuard_Handler() {
	addr, stop, err := serve("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	gate, err := client.New(addr, client.Options{Timeout: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()

	type request struct {
		Phone string `json:"phone"`
	}
	sendCode := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verdict, _ := client.FromContext(r.Context()) // verdict.CheckID is for Report
		fmt.Fprintln(w, "sent, check id kept:", verdict.CheckID != "")
	})
	guard := client.Guard{Client: gate, Send: func(r *http.Request) (client.Send, bool) {
		var in request
		if body, err := client.Body(r, 4096); err == nil {
			_ = json.Unmarshal(body, &in) // without a number it is refused
		}
		return client.Send{Number: client.Number(in.Phone), Endpoint: "login"}, true
	}}
	for range 2 {
		answer := httptest.NewRecorder()
		guard.Handler(sendCode).ServeHTTP(answer, httptest.NewRequest("POST", "/login/code", strings.NewReader(`{"phone":"+6581234567"}`)))
		fmt.Println(answer.Code, answer.Header().Get("Retry-After"), strings.TrimSpace(answer.Body.String()))
	}
	// Output:
	// 200  sent, check id kept: true
	// 429 60 {"title":"Too Many Requests","status":429,"verdict":"DENY"}
}

// The HTTP client that calls the SMS provider, with the guard in its transport: no send can go round it.
func ExampleGuard_Transport() {
	addr, stop, err := serve("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	gate, err := client.New(addr, client.Options{Timeout: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	provider := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fmt.Println("the provider sends it") }))
	defer provider.Close()

	sms := &http.Client{Transport: client.Guard{Client: gate, Send: func(r *http.Request) (client.Send, bool) {
		return client.Send{Number: client.Number(r.URL.Query().Get("to"))}, r.URL.Path == "/messages"
	}}.Transport(nil)}
	for range 2 {
		answer, err := sms.Post(provider.URL+"/messages?to=%2B6581234567", "text/plain", strings.NewReader("Your code is 1234"))
		if not := (*client.NotAllowedError)(nil); errors.As(err, &not) {
			fmt.Println(not)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		answer.Body.Close()
	}
	// Output:
	// the provider sends it
	// sendgate: DENY, limit:number-minute, ask again in 1m0s
}

// sendSMS is the request of some provider's gRPC API.
type sendSMS struct{ to string }

func ExampleUnaryInterceptor() {
	gate, err := client.New("127.0.0.1:7070", client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	guarded := client.UnaryInterceptor(gate, func(_ context.Context, _ string, req any) (client.Send, bool) {
		sms, ok := req.(*sendSMS)
		if !ok {
			return client.Send{}, false // other methods send nothing
		}
		return client.Send{Number: client.Number(sms.to)}, true
	})
	provider, err := grpc.NewClient("sms.example.com:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(guarded))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer provider.Close()
}

// A number masks itself.
func ExampleNumber() {
	s := client.Send{Number: "+6581234567", Endpoint: "login"}
	fmt.Printf("%v %q %s\n", s.Number, s.Number, s.Endpoint)
	// Output: ****67 "****67" login
}
