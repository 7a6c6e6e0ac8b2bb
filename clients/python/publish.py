"""Publishes one event.

usage: publish.py ORGANIZATION EVENT_TYPE JSON REQUEST_ID

The request id names the fact, for example `clocking-123-created`. A retry with the same id returns the first event, so a
call with an unknown outcome can be retried.
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
    webhooks = "webhook" if published.delivery_count == 1 else "webhooks"
    print(f"{what} {published.event}, to be sent to {published.delivery_count} {webhooks}")


if __name__ == "__main__":
    main()
