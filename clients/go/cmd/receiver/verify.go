package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Maximum distance of the signed time from now: an older request may be a replayed recording.
const tolerance = 5 * time.Minute

// secretKey returns the key of `webhook-signature`: the decoded base64 after `whsec_`.
func secretKey(secret string) ([]byte, error) {
	encoded := strings.TrimPrefix(secret, "whsec_")
	if encoded == secret {
		return nil, errors.New("a signing secret in the standard form begins with whsec_")
	}
	return base64.StdEncoding.DecodeString(encoded)
}

// verify checks `webhook-signature` (Standard Webhooks): an HMAC-SHA256 of the id, the time and the raw body.
func verify(key, body []byte, header http.Header, now time.Time) error {
	id, signedAt := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(signedAt, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is missing or no number")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return errors.New("webhook-timestamp is too far from now")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + signedAt + "."))
	mac.Write(body)
	expected := mac.Sum(nil)
	// During a rotation there is one signature per secret, separated by spaces: one match is enough.
	for _, signature := range strings.Fields(header.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(signature, ",")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(given, expected) { // in constant time
			return nil
		}
	}
	return errors.New("no signature fits")
}

// verifyBodyOnly checks `TT-Hook-Signature-256`, for receivers with GitHub's scheme: an HMAC-SHA256 of the body only. The key
// is the secret as shown, including `whsec_`. It covers neither id nor time, so prefer verify.
func verifyBodyOnly(secret string, body []byte, header http.Header) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	expected := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(header.Get("TT-Hook-Signature-256")), []byte(expected))
}
