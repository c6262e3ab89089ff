package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Webhook delivers by POST, signed as Standard Webhooks 1.0 have it.
type Webhook struct {
	url    string
	key    []byte
	client *http.Client
}

// Bounds of a secret, as Standard Webhooks have them.
const (
	minSecret = 24
	maxSecret = 64
)

// postTimeout is for one try, the answer included.
const postTimeout = 15 * time.Second

// NewWebhook makes a webhook. The address is https, or http to this machine. The secret is "whsec_" and base64 of 24 to 64 bytes.
func NewWebhook(address, secret string) (*Webhook, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("alert webhook: not an address: write https://HOST/PATH")
	case u.Scheme == "http" && loopback(u.Hostname()), u.Scheme == "https":
	default:
		return nil, errors.New("alert webhook: write https://HOST/PATH; http is for this machine only")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(secret), "whsec_"))
	if err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("alert webhook: secret: write whsec_ and base64 of %d to %d bytes", minSecret, maxSecret)
	}
	return &Webhook{url: address, key: key, client: &http.Client{
		Timeout: postTimeout,
		// A redirect would take the message to a place that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// sign is the signature of a message: HMAC-SHA-256 of id, time and body with dots between.
func (w *Webhook) sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, w.key)
	fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// refused is an answer other than 2xx.
type refused struct {
	status int
	after  time.Duration // Retry-After, 0 where there is none
}

func (r *refused) Error() string { return fmt.Sprintf("the webhook answered %d", r.status) }

// gone says that the receiver wants nothing any more.
func (r *refused) gone() bool { return r.status == http.StatusGone }

// post tries once. The id stays the same over all tries of a message, so that the receiver can tell them apart from new ones.
func (w *Webhook) post(ctx context.Context, id string, at time.Time, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sendgate")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("webhook-signature", w.sign(id, at, body))
	res, err := w.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address may hold a token
		}
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	if res.StatusCode/100 == 2 {
		return nil
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return &refused{res.StatusCode, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
}
