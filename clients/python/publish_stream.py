"""Publishes many events over one stream: one JSON object on each line of standard input.

usage: publish_stream.py ORGANIZATION EVENT_TYPE REQUEST_ID_PREFIX < payloads.jsonl

The request id of a line is the prefix and the line number, so an interrupted run can be repeated: published lines are not
published twice.
"""

import sys
from collections import Counter

import grpc

from connection import connect, explain
from hookwright.v1 import event_service_pb2


def requests(organization, event_type, prefix):
    """The events of standard input. gRPC requests the next one when it can send it, so a file of any size
    passes through little memory."""
    for number, line in enumerate(sys.stdin, start=1):
        if line.strip():
            event = event_service_pb2.PublishEventRequest(
                organization=f"organizations/{organization}",
                event_type=event_type,
                json=line.strip(),
                request_id=f"{prefix}-{number}",
            )
            yield event_service_pb2.PublishStreamRequest(sequence=number, event=event)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    hookwright = connect()
    outcomes = Counter()
    # No deadline: the stream lasts as long as there are lines. Acknowledgements arrive in the order of commits.
    responses = hookwright.events.PublishStream(requests(*sys.argv[1:]), metadata=hookwright.metadata)
    try:
        for response in responses:
            for ack in response.acks:
                outcomes[outcome(ack)] += 1
    except grpc.RpcError as error:
        print("run it again: what was published already is not published twice", file=sys.stderr)
        sys.exit(explain(error))
    print(f"published {outcomes['published']}, repeated {outcomes['repeated']}, refused {outcomes['refused']}")
    sys.exit(1 if outcomes["refused"] else 0)


def outcome(ack):
    """The result of one line. An error of one event does not end the stream."""
    if ack.result.HasField("error"):
        error = ack.result.error
        print(f"line {ack.sequence}: {error.reason}: {error.message}", file=sys.stderr)
        for violation in error.field_violations:
            print(f"  {violation.field}: {violation.description}", file=sys.stderr)
        return "refused"
    return "repeated" if ack.result.published.repeated_request else "published"


if __name__ == "__main__":
    main()
