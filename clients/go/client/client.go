// Package client connects to Hookwright, and explains its errors.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Timeout limits every call: without it, a call to a silent machine never returns.
const Timeout = 10 * time.Second

// Connect connects to HOOKWRIGHT_ADDRESS with HOOKWRIGHT_TOKEN. Open one connection and keep it: it carries any number of
// concurrent calls, and reconnects by itself.
func Connect() (*grpc.ClientConn, error) {
	address, err := url.Parse(environment("HOOKWRIGHT_ADDRESS", "http://127.0.0.1:50051"))
	if err != nil {
		return nil, fmt.Errorf("HOOKWRIGHT_ADDRESS: %w", err)
	}
	token := os.Getenv("HOOKWRIGHT_TOKEN")
	if token == "" {
		return nil, errors.New("HOOKWRIGHT_TOKEN is not set: give it an API token, " +
			"for example the admin token that the server made")
	}
	var transport grpc.DialOption
	switch address.Scheme {
	case "https":
		transport = grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}))
	case "http":
		transport = grpc.WithTransportCredentials(insecure.NewCredentials())
	default:
		return nil, errors.New("HOOKWRIGHT_ADDRESS must be a URL, for example http://127.0.0.1:50051")
	}
	// gRPC accepts 4 MiB by default. An event with the largest payload exceeds that.
	large := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20))
	return grpc.NewClient(address.Host, transport, large, grpc.WithPerRPCCredentials(bearer(token)))
}

func environment(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// bearer is the token of every call.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

// RequireTransportSecurity allows a plaintext address: safe on this machine, but not across a network.
func (bearer) RequireTransportSecurity() bool { return false }

// Explain returns the error as text: the code, the stable reason, and each invalid field.
func Explain(err error) string {
	answer := status.Convert(err)
	reason := ""
	var fields strings.Builder
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = " " + detail.Reason
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Fprintf(&fields, "\n  %s: %s", violation.Field, violation.Description)
			}
		}
	}
	return fmt.Sprintf("%s%s: %s%s", answer.Code(), reason, answer.Message(), fields.String())
}

// RetryDelay returns the delay before a retry of the same call, and false if a retry cannot help.
func RetryDelay(err error, attempt int) (time.Duration, bool) {
	answer := status.Convert(err)
	for _, detail := range answer.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			delay := info.GetRetryDelay()
			return time.Duration(delay.GetSeconds())*time.Second + time.Duration(delay.GetNanos()), true
		}
	}
	if answer.Code() != codes.Unavailable && answer.Code() != codes.DeadlineExceeded {
		return 0, false
	}
	delay := 200 * time.Millisecond << attempt
	if delay > 10*time.Second {
		delay = 10 * time.Second
	}
	return delay/2 + time.Duration(rand.Int63n(int64(delay/2))), true
}
