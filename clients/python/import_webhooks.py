"""Creates event types, organizations and webhooks from lines of JSON. What is there already is left alone, so that an import
which broke off, or was mended, is simply run again.

usage: import_webhooks.py [--check] < installation.jsonl

A line is an event type, or an organization with one of its webhooks (or without):

    {"eventTypeId": "invoice.paid", "eventType": {"description": "An invoice was paid"}}
    {"organizationId": "acme", "displayName": "Acme Ltd", "webhook": {"payloadUrl": "https://...", "events": ["*"]}}

`eventType` and `webhook` have the fields of the API in its JSON form. --check changes nothing and tells for each payload URL
whether it would be accepted.
"""

import json
import sys
from collections import Counter

import grpc
from google.protobuf import json_format

from connection import connect, explain
from hookwright.v1 import event_type_service_pb2, webhook_service_pb2
from manage import ensure_organization, ensure_webhook


class Refused(Exception):
    """A line that cannot be imported."""


def ensure_event_type(hookwright, record):
    event_type = parse(record.get("eventType", {}), event_type_service_pb2.EventType())
    request = event_type_service_pb2.CreateEventTypeRequest(event_type_id=record["eventTypeId"], event_type=event_type)
    try:
        return "created", hookwright.call(hookwright.event_types.CreateEventType, request).name
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise
        return "exists", f"eventTypes/{record['eventTypeId']}"


def ensure_organization_with_webhook(hookwright, record):
    organization_id = record["organizationId"]
    created = ensure_organization(hookwright, organization_id, record.get("displayName", ""))
    if "webhook" not in record:
        return "created" if created else "exists", f"organizations/{organization_id}"
    wanted = parse(record["webhook"], webhook_service_pb2.Webhook())
    webhook, created = ensure_webhook(hookwright, organization_id, wanted)
    return "created" if created else "exists", f"{webhook.name} {webhook.payload_url}"


def check(hookwright, record):
    if "webhook" not in record:
        return "accepted", record.get("organizationId") or record["eventTypeId"]
    wanted = parse(record["webhook"], webhook_service_pb2.Webhook())
    request = webhook_service_pb2.CheckWebhookUrlRequest(payload_url=wanted.payload_url)
    answer = hookwright.call(hookwright.webhooks.CheckWebhookUrl, request)
    if not answer.allowed:
        raise Refused(f"{answer.rule}: {answer.message}")
    return "accepted", wanted.payload_url


def parse(value, message):
    try:
        return json_format.ParseDict(value, message)
    except json_format.ParseError as error:
        raise Refused(str(error)) from error


def import_line(hookwright, line):
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise Refused(f"no JSON: {error}") from error
    if not isinstance(record, dict) or ("eventTypeId" in record) == ("organizationId" in record):
        raise Refused("an object with either eventTypeId or organizationId is needed")
    if "--check" in sys.argv:
        return check(hookwright, record)
    if "eventTypeId" in record:
        return ensure_event_type(hookwright, record)
    return ensure_organization_with_webhook(hookwright, record)


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    hookwright = connect()
    outcomes = Counter()
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            outcome, name = import_line(hookwright, line)
            print(outcome, name)
        except (grpc.RpcError, Refused) as error:
            outcome = "refused"
            print(f"line {number}: {explain(error) if isinstance(error, grpc.RpcError) else error}", file=sys.stderr)
        outcomes[outcome] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "nothing to import")
    sys.exit(1 if outcomes["refused"] else 0)


if __name__ == "__main__":
    main()
