package server

import (
	"context"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sendgate/sendgate/internal/extract"
	"github.com/sendgate/sendgate/policy"
)

// Whatever Envoy says of a request, reading it ends in numbers or in a fault, for every kind of selector.
func FuzzExtAuthz(f *testing.F) {
	p, err := policy.Parse("p", []byte(`version: 1
proxies:
  profiles:
    json: {match: ["POST /v1/{account}/messages", ANY /v2], number: "body.json.messages[*].to", account: path.account, purpose: header.x-purpose, endpoint: "body.json.messages[*].kind"}
    form: {match: POST /form, number: body.form.To, subaccount: query.team, channel: metadata.jwt.claims.channel, client_address: peer.address}
    cel: {match: POST /cel, number: {cel: 'request.json.map(m, m.to)'}, account: {cel: 'request.has("header.x-account") ? request.header("x-account") : request.metadata("jwt.sub")'}}
`))
	if err != nil {
		f.Fatal(err)
	}
	claims, err := structpb.NewStruct(map[string]any{"claims": map[string]any{"channel": "sms"}, "sub": "acme"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []struct{ path, kind, body string }{
		{"/v1/acme/messages", "application/json", `{"messages":[{"to":"+6581234567","kind":"otp"}]}`}, {"/v2?x=1", "application/json", `{"messages":[{"to":1,"to":2}]}`},
		{"/form?team=a&team=b", "application/x-www-form-urlencoded", "To=%2B6581234567"}, {"/cel", "application/json", `[{"to":"+6581234567"}]`}, {"/v1/%2e%2e/messages", "", "\xff"},
	} {
		src, err := proto.Marshal(&authv3.AttributeContext{
			Source:          &authv3.AttributeContext_Peer{Principal: "spiffe://a/b", Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1"}}}},
			MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"jwt": claims}},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "POST", Path: seed.path, RawBody: []byte(seed.body),
				Headers: map[string]string{"content-type": seed.kind, "x-purpose": "otp"}}},
		})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var in authv3.AttributeContext
		if proto.Unmarshal(src, &in) != nil {
			return
		}
		request := fromAttributes(context.Background(), &in)
		isGRPC(request)
		p.Proxies.ProfileFor(extract.Read(request))
		for name, profile := range p.Proxies.Profiles {
			r := extract.Read(request)
			for _, template := range profile.Match {
				r.MatchPath(template)
			}
			items, fault := r.All(profile.Number)
			if (fault == "") != (len(items) > 0) {
				t.Fatalf("%s: %v and %q", name, items, fault)
			}
			for _, item := range items {
				for _, s := range []extract.Selector{profile.Account, profile.Subaccount, profile.Endpoint, profile.Channel, profile.Purpose, profile.ClientAddress} {
					if s.IsZero() {
						continue
					}
					if text, fault := r.One(s, item.At); (fault == "") != (text != "") {
						t.Fatalf("%s: %s: %q and %q", name, s, text, fault)
					}
				}
			}
		}
	})
}
