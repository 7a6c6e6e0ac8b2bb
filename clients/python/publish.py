"""Publishes one event.

usage: publish.py ORGANIZATION EVENT_TYPE JSON REQUEST_ID

The request id names what happened, for example `clocking-123-created`: a repeat of the call with the same id returns the
event that was published first, so that a call of which the outcome is unknown can simply be made again.
"""

import sys
import time

import grpc

from connection import connect, explain, retry_delay
from hookwright.v1 import event_service_pb2

ATTEMPTS = 5


def publish(hookwright, request):
    """Publishes, and retries temporary errors. Returns when the event is durable."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return hookwright.call(hookwright.events.PublishEvent, request)
        except grpc.RpcError as error:
            delay = retry_delay(error, attempt)
            if delay is None or attempt == ATTEMPTS:
                raise
            print(f"{error.code().name}, again in {delay:.1f} s", file=sys.stderr)
            time.sleep(delay)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    organization, event_type, payload, request_id = sys.argv[1:]
    request = event_service_pb2.PublishEventRequest(
        organization=f"organizations/{organization}",
        event_type=event_type,
        json=payload,  # receivers get these bytes, unchanged
        request_id=request_id,
    )
    try:
        published = publish(connect(), request)
    except grpc.RpcError as error:
        sys.exit(explain(error))
    what = "repeated" if published.repeated_request else "published"
    print(f"{what} {published.event}, owed to {published.delivery_count} webhooks")


if __name__ == "__main__":
    main()
