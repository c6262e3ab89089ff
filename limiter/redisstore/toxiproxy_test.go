package redisstore_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"testing"
)

// toxi is a way to a server through a real toxiproxy of its own, that can be made bad.
type toxi struct {
	t    testing.TB
	api  string
	addr string
}

func startToxiproxy(t testing.TB, upstream string) *toxi {
	t.Helper()
	path, port := program(t, "toxiproxy-server"), freePort(t)
	x := &toxi{t: t, api: "http://127.0.0.1:" + port, addr: "127.0.0.1:" + freePort(t)}
	cmd := exec.Command(path, "-host", "127.0.0.1", "-port", port)
	cmd.SysProcAttr = dieWithTest()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "toxiproxy listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	x.call("POST", "/proxies", map[string]any{"name": "way", "listen": x.addr, "upstream": upstream, "enabled": true})
	return x
}

// poison puts a toxic on both directions; cure takes all of them away.
func (x *toxi) poison(kind string, attributes map[string]any) {
	x.t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		x.call("POST", "/proxies/way/toxics", map[string]any{"name": stream, "type": kind, "stream": stream, "attributes": attributes})
	}
}

func (x *toxi) cure() {
	x.t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		x.call("DELETE", "/proxies/way/toxics/"+stream, nil)
	}
}

func (x *toxi) call(method, path string, body any) {
	x.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		x.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(x.t.Context(), method, x.api+path, bytes.NewReader(b))
	if err != nil {
		x.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		said, _ := io.ReadAll(res.Body)
		x.t.Fatalf("%s %s: %s: %s", method, path, res.Status, said)
	}
}
