"""Creates event types, organizations and webhooks from lines of JSON. It skips existing ones, so an import that was interrupted
or corrected can be repeated.

usage: import_webhooks.py [--check] < installation.jsonl

A line is an event type, or an organization with one of its webhooks (or without):

    {"eventTypeId": "invoice.paid", "eventType": {"description": "An invoice was paid"}}
    {"organizationId": "acme", "displayName": "Acme Ltd", "webhook": {"payloadUrl": "https://...", "events": ["*"]}}

`eventType` and `webhook` have the fields of the API in its JSON form. A webhook exists already if the organization has one with
its payload URL. If several lines of an organization share a URL, each is a separate webhook, and the description distinguishes
them: give each line a different one. Event types with `"archived": true` are archived at the end, after the webhooks that
subscribe to them were created.

--check changes nothing and reports for each payload URL and event type whether it would be accepted. The last line counts the
lines by result. The exit code is 1 if any was rejected.
"""

import json
import re
import sys
from collections import Counter

import grpc
from google.protobuf import json_format

from connection import connect, explain
from hookwright.v1 import event_type_service_pb2, webhook_service_pb2
from manage import ensure_organization, webhooks

EVENT_TYPE_ID = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\Z")


class Refused(Exception):
    """A line that cannot be imported."""


def ensure_event_type(hookwright, record):
    event_type = parse(record.get("eventType", {}), event_type_service_pb2.EventType())
    request = event_type_service_pb2.CreateEventTypeRequest(event_type_id=record["eventTypeId"], event_type=event_type)
    try:
        hookwright.call(hookwright.event_types.CreateEventType, request)
        return "created"
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise
        return "exists"


class Import:
    """The lines, and the existing webhooks that belong to one of them."""

    def __init__(self, hookwright, records):
        self.hookwright = hookwright
        # Number of lines per organization and URL, as given.
        self.urls = Counter(url_of(record) for record in records if isinstance(record, dict))
        self.unclaimed = {}
        self.archived = []

    def event_type(self, record):
        given = dict(record.get("eventType", {}))
        name = f"eventTypes/{record['eventTypeId']}"
        if given.pop("archived", False):
            self.archived.append(name)
        return ensure_event_type(self.hookwright, record | {"eventType": given}), name

    def organization(self, record):
        organization_id = record["organizationId"]
        created = ensure_organization(self.hookwright, organization_id, record.get("displayName", ""))
        if "webhook" not in record:
            return "created" if created else "exists", f"organizations/{organization_id}"
        wanted = parse(record["webhook"], webhook_service_pb2.Webhook())
        existing = self.claim(organization_id, wanted, self.urls[url_of(record)] > 1)
        if existing:
            return "exists", f"{existing.name} {existing.payload_url}"
        parent = f"organizations/{organization_id}"
        request = webhook_service_pb2.CreateWebhookRequest(parent=parent, webhook=wanted)
        webhook = self.hookwright.call(self.hookwright.webhooks.CreateWebhook, request)
        return "created", f"{webhook.name} {webhook.payload_url}"

    def claim(self, organization_id, wanted, is_one_of_several):
        """The existing webhook of a line, and of no other line. URLs are stored in normal form, so the server is
        asked how this one will look."""
        if organization_id not in self.unclaimed:
            self.unclaimed[organization_id] = list(webhooks(self.hookwright, organization_id))
        check = webhook_service_pb2.CheckWebhookUrlRequest(payload_url=wanted.payload_url)
        url = self.hookwright.call(self.hookwright.webhooks.CheckWebhookUrl, check).normalized_url
        for existing in self.unclaimed[organization_id]:
            if existing.payload_url == url and (not is_one_of_several or existing.description == wanted.description):
                self.unclaimed[organization_id].remove(existing)
                return existing
        return None

    def archive(self):
        for name in self.archived:
            request = event_type_service_pb2.ArchiveEventTypeRequest(name=name)
            self.hookwright.call(self.hookwright.event_types.ArchiveEventType, request)
            print("archived", name)


def url_of(record):
    webhook = record.get("webhook")
    return record.get("organizationId"), webhook.get("payloadUrl") if isinstance(webhook, dict) else None


def check(hookwright, record):
    if "eventTypeId" in record:
        return "accepted", check_event_type(record["eventTypeId"])
    if "webhook" not in record:
        return "accepted", record["organizationId"]
    wanted = parse(record["webhook"], webhook_service_pb2.Webhook())
    for event_type_id in wanted.events:
        if event_type_id != "*":
            check_event_type(event_type_id)
    request = webhook_service_pb2.CheckWebhookUrlRequest(payload_url=wanted.payload_url)
    answer = hookwright.call(hookwright.webhooks.CheckWebhookUrl, request)
    if not answer.allowed:
        raise Refused(f"{answer.rule}: {answer.message}")
    return "accepted", wanted.payload_url


def check_event_type(event_type_id):
    if not EVENT_TYPE_ID.match(event_type_id):
        raise Refused(f"`{event_type_id}` cannot be an event type's id: {EVENT_TYPE_ID.pattern}")
    return event_type_id


def parse(value, message):
    try:
        return json_format.ParseDict(value, message)
    except json_format.ParseError as error:
        raise Refused(str(error)) from error


def read_line(line):
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return Refused(f"no JSON: {error}")
    if not isinstance(record, dict) or ("eventTypeId" in record) == ("organizationId" in record):
        return Refused("an object with either eventTypeId or organizationId is needed")
    return record


def import_record(importing, record):
    if isinstance(record, Refused):
        raise record
    if "--check" in sys.argv:
        return check(importing.hookwright, record)
    return importing.event_type(record) if "eventTypeId" in record else importing.organization(record)


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    records = {number: read_line(line) for number, line in enumerate(sys.stdin, start=1) if line.strip()}
    importing = Import(connect(), records.values())
    outcomes = Counter()
    for number, record in records.items():
        try:
            outcome, name = import_record(importing, record)
            print(outcome, name)
        except (grpc.RpcError, Refused) as error:
            outcome = "refused"
            print(f"line {number}: {explain(error) if isinstance(error, grpc.RpcError) else error}", file=sys.stderr)
        outcomes[outcome] += 1
    if importing.archived and outcomes["refused"]:
        print("nothing was archived, because rejected webhooks may need it. Correct them and repeat the import", file=sys.stderr)
    else:
        try:
            importing.archive()
        except grpc.RpcError as error:
            sys.exit(explain(error))
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "nothing to import")
    sys.exit(1 if outcomes["refused"] else 0)


if __name__ == "__main__":
    main()
