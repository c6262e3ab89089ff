package proxies_test

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// The table of client addresses: with each setting of Envoy the right address is counted, whatever the client writes.
func TestExtAuthz_clientAddress(t *testing.T) {
	const oneByClient = "version: 1\nlimits: [{name: client, by: [client], limit: 1, window: 1h}]\nproxies: {profiles: {sms: {number: body.json.destination}}}"
	for _, tt := range []struct {
		name    string
		replace []string
		header  []string
		preface string // what stands before the request
		same    string // the address that must be the same
	}{
		{"the edge", nil, []string{"X-Forwarded-For", "6.6.6.6"}, "", "127.0.0.1"},
		{"a forged metadata header", nil, []string{"x-rl-client-ip", "6.6.6.6"}, "", "127.0.0.1"},
		{"a forged external address", nil, []string{"x-envoy-external-address", "6.6.6.6"}, "", "127.0.0.1"},
		{"one proxy in front", []string{"xff_num_trusted_hops: 0", "xff_num_trusted_hops: 1"}, []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7"}, "", "198.51.100.7"},
		{"not the edge", []string{"use_remote_address: true", "use_remote_address: false"}, []string{"x-envoy-external-address", "8.8.8.8"}, "", "127.0.0.1"},
		{"a header of a CDN", []string{"use_remote_address: true\n          xff_num_trusted_hops: 0",
			`original_ip_detection_extensions: [{name: c, typed_config: {"@type": type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig, header_name: true-client-ip, allow_extension_to_set_address_as_trusted: true}}]`},
			[]string{"true-client-ip", "198.51.100.77"}, "", "198.51.100.77"},
		{"the PROXY protocol", []string{"    filter_chains:", `    listener_filters: [{name: p, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}}]
    filter_chains:`}, []string{"X-Forwarded-For", "6.6.6.6"}, "PROXY TCP4 203.0.113.44 127.0.0.1 1 2\r\n", "203.0.113.44"},
		{"IPv6", []string{"address: 127.0.0.1, port_value: 0", `address: "::1", port_value: 0`}, nil, "", "::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "IPv6" {
				l, err := net.Listen("tcp", "[::1]:0")
				if err != nil {
					t.Skipf("no IPv6 here: %v", err)
				}
				l.Close()
			}
			e := startEdge(t, tt.replace...)
			e.side.stop()
			e.side = startSidecar(t, oneByClient, e.dir)
			await(t, func() bool { return e.raw(t, tt.preface, "+6581230001", tt.header...) != 503 }, "the sidecar")
			// What was just counted is the address that is meant: it has no second send by another way.
			v, err := e.side.CheckSend(t.Context(), &sendgatev1.CheckSendRequest{Number: "+6581230009", ClientAddress: tt.same})
			if err != nil || v.Reason != "limit:client" {
				t.Errorf("%s was not counted: %v %v", tt.same, v, err)
			}
			if got := e.raw(t, tt.preface, "+6581230002", tt.header...); got != 429 {
				t.Errorf("the second: %d", got)
			}
		})
	}
}

// raw sends over a connection of its own, with something before the request.
func (e *edge) raw(t *testing.T, preface, number string, header ...string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"destination":"` + number + `"}`
	text := preface + "POST /api/v1/subaccounts/acme/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
	for i := 0; i < len(header); i += 2 {
		text += header[i] + ": " + header[i+1] + "\r\n"
	}
	if _, err := io.WriteString(conn, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", text, len(body), body)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var status int
	fmt.Sscanf(line, "HTTP/1.1 %d", &status)
	return status
}

// Claims of a token that Envoy has verified, and metadata of its routes, are facts of a send.
func TestExtAuthz_claimsAndRouteMetadata(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	jwks := fmt.Sprintf(`{"keys":[{"kty":"RSA","alg":"RS256","kid":"k","n":"%s","e":"%s"}]}`, encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes()))
	token := func(tenant string) string {
		text := encode([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encode([]byte(`{"iss":"lab","exp":4000000000,"tenant":"`+tenant+`"}`))
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text + "." + encode(signature)
	}
	inline, err := json.Marshal(jwks)
	if err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, "          http_filters:\n", `          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers: {lab: {issuer: lab, payload_in_metadata: jwt_payload, local_jwks: {inline_string: `+string(inline)+`}}}
              rules: [{match: {prefix: /}, requires: {provider_name: lab}}]
`)
	e.side.stop()
	e.side = startSidecar(t, `
version: 1
limits:
  - {name: tenant, by: [account], limit: 1, window: 1h, match: {channel: sms}}
proxies:
  profiles:
    sms: {number: body.json.destination, account: metadata.envoy.filters.http.jwt_authn.jwt_payload.tenant, channel: route_metadata.sendgate.channel}
`, e.dir)
	await(t, func() bool { return e.sms("+6581230001", "Authorization", token("acme")).status == 200 }, "the sidecar")
	if got := e.sms("+6581230002", "Authorization", token("acme")); got.status != 429 || got.header.Get("RateLimit-Policy") != `"tenant";q=1;w=3600` {
		t.Errorf("the second of acme: %d %v", got.status, got.header)
	}
	if got := e.sms("+6581230003", "Authorization", token("globex")); got.status != 200 {
		t.Errorf("the first of globex: %d", got.status)
	}
	if got := e.sms("+6581230004", "Authorization", token("globex")+"x"); got.status != 401 {
		t.Errorf("a forged token: %d", got.status)
	}
}
