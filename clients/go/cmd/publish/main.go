// Publishes one event.
//
// The request id names the fact, for example `clocking-123-created`. A retry with the same id returns the first event, so a
// call with an unknown outcome can be retried.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"example.com/hookwright-client/client"
	hookwright "example.com/hookwright-client/hookwright/v1"
)

const attempts = 5

func main() {
	if len(os.Args) != 5 {
		fail("usage: publish ORGANIZATION EVENT_TYPE JSON REQUEST_ID")
	}
	connection, err := client.Connect()
	if err != nil {
		fail(err.Error())
	}
	defer connection.Close()
	published, err := publish(hookwright.NewEventServiceClient(connection), &hookwright.PublishEventRequest{
		Organization: "organizations/" + os.Args[1],
		EventType:    os.Args[2],
		Payload:      &hookwright.PublishEventRequest_Json{Json: os.Args[3]}, // receivers get these bytes, unchanged
		RequestId:    os.Args[4],
	})
	if err != nil {
		fail(client.Explain(err))
	}
	what := "published"
	if published.RepeatedRequest {
		what = "repeated"
	}
	webhooks := "webhooks"
	if published.DeliveryCount == 1 {
		webhooks = "webhook"
	}
	fmt.Printf("%s %s, to be sent to %d %s\n", what, published.Event, published.DeliveryCount, webhooks)
}

// publish retries temporary errors. It returns when the event is durable.
func publish(
	events hookwright.EventServiceClient, request *hookwright.PublishEventRequest,
) (*hookwright.PublishEventResponse, error) {
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), client.Timeout)
		published, err := events.PublishEvent(ctx, request)
		cancel()
		if err == nil {
			return published, nil
		}
		delay, useful := client.RetryDelay(err, attempt)
		if !useful || attempt == attempts {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "%s, again in %s\n", client.Explain(err), delay.Round(time.Millisecond))
		time.Sleep(delay)
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
