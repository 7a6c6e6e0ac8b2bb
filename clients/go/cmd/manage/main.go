// Ensures that an organization exists and has a webhook for a URL.
//
// HOOKWRIGHT_SIGNING_SECRET is the signing secret of a new webhook; without it the server generates one.
package main

import (
	"context"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/hookwright-client/client"
	hookwright "example.com/hookwright-client/hookwright/v1"
)

func main() {
	if len(os.Args) < 4 {
		fail("usage: manage ORGANIZATION PAYLOAD_URL EVENT_TYPE...")
	}
	connection, err := client.Connect()
	if err != nil {
		fail(err.Error())
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), client.Timeout)
	defer cancel()
	if err := ensureOrganization(ctx, connection, os.Args[1]); err != nil {
		fail(client.Explain(err))
	}
	secret := os.Getenv("HOOKWRIGHT_SIGNING_SECRET")
	webhook, created, err := ensureWebhook(ctx, connection, os.Args[1], &hookwright.Webhook{
		PayloadUrl:    os.Args[2],
		Events:        os.Args[3:],
		SigningSecret: secret,
	})
	switch {
	case err != nil:
		fail(client.Explain(err))
	case !created:
		fmt.Println("exists", webhook.Name)
	default:
		fmt.Println("created", webhook.Name)
		if secret == "" {
			// Only the response of CreateWebhook contains it: store it for the receiver.
			fmt.Println("signing secret", webhook.SigningSecret)
		}
	}
}

// ensureOrganization creates the organization, unless it exists.
func ensureOrganization(ctx context.Context, connection *grpc.ClientConn, id string) error {
	request := &hookwright.CreateOrganizationRequest{OrganizationId: id}
	_, err := hookwright.NewOrganizationServiceClient(connection).CreateOrganization(ctx, request)
	if status.Code(err) == codes.AlreadyExists {
		return nil
	}
	return err
}

// ensureWebhook returns the webhook with this payload URL, and whether this call created it. URLs are stored in normal form, so
// it asks the server for the normal form first.
func ensureWebhook(
	ctx context.Context, connection *grpc.ClientConn, organization string, wanted *hookwright.Webhook,
) (webhook *hookwright.Webhook, created bool, err error) {
	webhooks := hookwright.NewWebhookServiceClient(connection)
	checked, err := webhooks.CheckWebhookUrl(ctx, &hookwright.CheckWebhookUrlRequest{PayloadUrl: wanted.PayloadUrl})
	if err != nil {
		return nil, false, err
	}
	parent := "organizations/" + organization
	list := &hookwright.ListWebhooksRequest{Parent: parent}
	for {
		page, err := webhooks.ListWebhooks(ctx, list)
		if err != nil {
			return nil, false, err
		}
		for _, existing := range page.Webhooks {
			if existing.PayloadUrl == checked.NormalizedUrl {
				return existing, false, nil
			}
		}
		// A page may be short: only an empty token marks the end.
		if page.NextPageToken == "" {
			break
		}
		list.PageToken = page.NextPageToken
	}
	webhook, err = webhooks.CreateWebhook(ctx, &hookwright.CreateWebhookRequest{Parent: parent, Webhook: wanted})
	return webhook, true, err
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
