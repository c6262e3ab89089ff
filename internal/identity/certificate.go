package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// attributes are the short names of RFC 4514 and of openssl, by object identifier.
func attributes() map[string]string {
	return map[string]string{
		"2.5.4.3": "CN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
		"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.17": "POSTALCODE",
		"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "EMAILADDRESS",
	}
}

// namesOf is the names that a certificate can be known by, best first. A certificate with several URIs is no SVID: SPIFFE wants
// exactly one, so that nobody chooses who to be.
func namesOf(c *x509.Certificate) []string {
	var names []string
	if len(c.URIs) == 1 && c.URIs[0].Scheme == "spiffe" {
		names = append(names, c.URIs[0].String())
	}
	if subject, err := subjectOf(&c.Subject); err == nil {
		names = append(names, subject)
	}
	return names
}

// subjectOf writes a subject in its one spelling: TYPE=value, sorted, because programs disagree about the order. A value with a
// comma or an equals sign could be read as two attributes, so it is refused.
func subjectOf(n *pkix.Name) (string, error) {
	if len(n.Names) == 0 {
		return "", errors.New("the subject is empty")
	}
	short := attributes()
	var parts []string
	for _, a := range n.Names {
		value, ok := a.Value.(string)
		if !ok || strings.ContainsAny(value, ",=") {
			return "", errors.New("the subject has a value with a comma, an equals sign or no text")
		}
		parts = append(parts, typeOf(short, a.Type)+"="+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, ","), nil
}

func typeOf(short map[string]string, id asn1.ObjectIdentifier) string {
	if name, ok := short[id.String()]; ok {
		return name
	}
	return id.String()
}

// canonicalName brings a SPIFFE ID or a subject, as a policy writes it, to the spelling of namesOf.
func canonicalName(text string) (string, error) {
	if strings.HasPrefix(text, "spiffe://") {
		return text, nil
	}
	parts := strings.Split(text, ",")
	for i, p := range parts {
		kind, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || kind == "" || value == "" || strings.Contains(value, "=") {
			return "", fmt.Errorf("%q is not an identity: write a SPIFFE ID such as spiffe://example.org/billing, or a whole subject such as CN=billing,O=Acme", text)
		}
		parts[i] = strings.ToUpper(kind) + "=" + value
	}
	slices.Sort(parts)
	return strings.Join(parts, ","), nil
}
