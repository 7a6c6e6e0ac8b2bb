package main

import (
	"net/http"
	"testing"
	"time"
)

const body = `{"action":"created","clocking":{"id":"CLOCKING-ID-123","driverId":"DRIVER-ID-123",` +
	`"clockingTimeStamp":"2018-01-01T09:01:53","isClockIn":true}}`
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func headers(signature string) http.Header {
	header := http.Header{}
	header.Set("webhook-id", "evt_01")
	header.Set("webhook-timestamp", "1735689600")
	header.Set("webhook-signature", signature)
	return header
}

func TestVerify(t *testing.T) {
	const valid = "v1,NHuKArjDdNW5bZhpNy4zWNna9PpbyWN0HcO6a9uE+Ik="
	signedAt := time.Unix(1735689600, 0)
	key, err := secretKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		signature string
		body      string
		now       time.Time
		accepted  bool
	}{
		"as sent":                  {valid, body, signedAt, true},
		"second of two signatures": {"v1,AAAA " + valid, body, signedAt, true},
		"one byte changed":         {valid, body[:len(body)-1] + " ", signedAt, false},
		"another version":          {"v1a" + valid[2:], body, signedAt, false},
		"no signature":             {"", body, signedAt, false},
		"no base64":                {"v1,%", body, signedAt, false},
		"at the tolerance":         {valid, body, signedAt.Add(tolerance), true},
		"too old":                  {valid, body, signedAt.Add(tolerance + time.Second), false},
		"from the future":          {valid, body, signedAt.Add(-tolerance - time.Second), false},
	} {
		err := verify(key, []byte(test.body), headers(test.signature), test.now)
		if (err == nil) != test.accepted {
			t.Errorf("%s: %v", name, err)
		}
	}
	if verify(key, []byte(body), http.Header{}, signedAt) == nil {
		t.Error("a request without headers is accepted")
	}
}

func TestSecretKey(t *testing.T) {
	for _, secret := range []string{"", "correct horse battery staple", "whsec_%"} {
		if _, err := secretKey(secret); err == nil {
			t.Errorf("%q is accepted", secret)
		}
	}
}

func TestVerifyBodyOnly(t *testing.T) {
	const secret = "correct horse battery staple"
	header := http.Header{}
	header.Set("TT-Hook-Signature-256", "sha256=0c76c5b6d307e41238f59c366a37dfe07533e2c0c86ef977238c3d7c29eef4c5")
	if !verifyBodyOnly(secret, []byte(body), header) {
		t.Error("a valid signature is refused")
	}
	if verifyBodyOnly(secret, []byte(body+" "), header) || verifyBodyOnly(secret, []byte(body), http.Header{}) {
		t.Error("an invalid signature is accepted")
	}
}
