package template

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxBody is the most bytes of a webhook that are read. Meta batches up to 1000 updates, 3 MB at most.
const MaxBody = 3 << 20

// VerifySignature checks the X-Hub-Signature-256 header of a webhook: "sha256=" and an HMAC of the body under the app's secret.
func VerifySignature(secret []byte, header string, body []byte) bool {
	given, ok := strings.CutPrefix(header, "sha256=")
	if !ok || len(secret) == 0 {
		return false
	}
	sum, err := hex.DecodeString(given)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hmac.Equal(sum, mac.Sum(nil))
}

// webhook is what Meta posts. Fields that are not about templates are passed over.
type webhook struct {
	Object string `json:"object"`
	Entry  []struct {
		ID      string `json:"id"`
		Time    int64  `json:"time"` // Unix seconds; some gateways send milliseconds
		Changes []struct {
			Field string `json:"field"`
			Value struct {
				Event       string `json:"event"`
				Name        string `json:"message_template_name"`
				Language    string `json:"message_template_language"`
				Category    string `json:"message_template_category"`
				NewQuality  string `json:"new_quality_score"`
				NewCategory string `json:"new_category"`
				Other       struct {
					Title string `json:"title"`
				} `json:"other_info"`
			} `json:"value"`
		} `json:"changes"`
	} `json:"entry"`
}

// ParseWhatsApp reads a webhook of a WhatsApp Business Account. Updates that are not about templates give no events. What is
// wrong with a body is told without quoting it. Whose account the business is has to be filled in.
func ParseWhatsApp(body []byte) ([]Event, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("template: webhook of %d bytes: %d at most are read", len(body), MaxBody)
	}
	var w webhook
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&w); err != nil {
		return nil, errors.New("template: webhook: not the JSON that WhatsApp posts")
	}
	if w.Object != "whatsapp_business_account" {
		return nil, errors.New("template: webhook: object is not whatsapp_business_account")
	}
	var out []Event
	for _, entry := range w.Entry {
		at := time.Unix(entry.Time, 0).UTC()
		if entry.Time > 1e11 {
			at = time.UnixMilli(entry.Time).UTC()
		}
		for _, c := range entry.Changes {
			v := &c.Value
			e := Event{ID: ID{Business: entry.ID, Name: v.Name, Language: v.Language}, At: at}
			switch c.Field {
			case "message_template_status_update":
				e.What, e.Event, e.Title, e.Category = StatusUpdate, v.Event, v.Other.Title, Category(v.Category)
			case "message_template_quality_update":
				e.What, e.Quality = QualityUpdate, Quality(v.NewQuality)
			case "template_category_update":
				if v.NewCategory == "" {
					continue // announces a change that comes later
				}
				e.What, e.Category = CategoryUpdate, Category(v.NewCategory)
			default:
				continue
			}
			if v.Name == "" || v.Language == "" || entry.ID == "" || entry.Time <= 0 {
				return nil, errors.New("template: webhook: an update lacks its account, template, language or time")
			}
			out = append(out, e)
		}
	}
	return out, nil
}
