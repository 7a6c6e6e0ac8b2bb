// Publishes many events over one stream: one JSON object on each line of standard input.
//
// The request id of a line is the prefix and the line number, so an interrupted run can be repeated: published lines are
// not published twice.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"example.com/hookwright-client/client"
	hookwright "example.com/hookwright-client/hookwright/v1"
)

// A line is one payload: at most 5,242,880 bytes, unless the server's operator changed the limit.
const lineBytesMax = 6 << 20

func main() {
	if len(os.Args) != 4 {
		fail("usage: publish-stream ORGANIZATION EVENT_TYPE REQUEST_ID_PREFIX < payloads.jsonl")
	}
	connection, err := client.Connect()
	if err != nil {
		fail(err.Error())
	}
	defer connection.Close()
	// No deadline: the stream lasts as long as there are lines.
	stream, err := hookwright.NewEventServiceClient(connection).PublishStream(context.Background())
	if err != nil {
		fail(client.Explain(err))
	}
	sending := make(chan error, 1)
	go func() { sending <- send(stream, os.Stdin, os.Args[1], os.Args[2], os.Args[3]) }()
	count, err := receive(stream)
	if err != nil {
		fail(client.Explain(err) + "\nrun it again: what was published already is not published twice")
	}
	if err := <-sending; err != nil {
		fail(err.Error())
	}
	fmt.Printf("published %d, repeated %d, refused %d\n", count.published, count.repeated, count.refused)
	if count.refused > 0 {
		os.Exit(1)
	}
}

// send writes a request for each line. It waits while the server accepts no more, so a file of any size needs little
// memory.
func send(
	stream hookwright.EventService_PublishStreamClient, input io.Reader, organization, eventType, prefix string,
) error {
	lines := bufio.NewScanner(input)
	lines.Buffer(make([]byte, 0, 64<<10), lineBytesMax)
	for number := uint64(1); lines.Scan(); number++ {
		payload := strings.TrimSpace(lines.Text())
		if payload == "" {
			continue
		}
		err := stream.Send(&hookwright.PublishStreamRequest{Sequence: number, Event: &hookwright.PublishEventRequest{
			Organization: "organizations/" + organization,
			EventType:    eventType,
			Payload:      &hookwright.PublishEventRequest_Json{Json: payload},
			RequestId:    fmt.Sprintf("%s-%d", prefix, number),
		}})
		if err != nil {
			return nil // the stream has ended: receive returns the reason
		}
	}
	closed := stream.CloseSend()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return closed
}

type counts struct{ published, repeated, refused int }

// receive counts the acknowledgements. They arrive in the order of commits, not of lines.
func receive(stream hookwright.EventService_PublishStreamClient) (count counts, err error) {
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return count, err
		}
		for _, ack := range response.Acks {
			refused := ack.Result.GetError()
			switch {
			case refused != nil: // an error of one event does not end the stream
				count.refused++
				fmt.Fprintf(os.Stderr, "line %d: %s: %s\n", ack.Sequence, refused.Reason, refused.Message)
				for _, violation := range refused.FieldViolations {
					fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.Field, violation.Description)
				}
			case ack.Result.GetPublished().GetRepeatedRequest():
				count.repeated++
			default:
				count.published++
			}
		}
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
