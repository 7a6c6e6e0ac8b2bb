"""Makes every call of the API by reflection alone, without generated code, as grpcurl and similar clients do.

The result names the calls that the server describes and this conversation does not make in `missed`.
"""

import json
import sys
import time

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PACKAGE = "hookwright.v1"


class Api:
    """The API as the server describes it."""

    def __init__(self, address, token):
        self.channel = grpc.insecure_channel(address)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = DescriptorPool(self.database)
        self.metadata = [("authorization", f"Bearer {token}")]
        self.called = set()

    def all_calls(self):
        names = [name for name in self.database.get_services() if name.startswith(f"{PACKAGE}.")]
        services = [self.pool.FindServiceByName(name) for name in names]
        return {f"{service.name}.{method.name}" for service in services for method in service.methods}

    def __call__(self, name, request):
        service, method = name.split(".")
        described = self.pool.FindServiceByName(f"{PACKAGE}.{service}").FindMethodByName(method)
        self.called.add(name)
        streamed = isinstance(request, list)
        prepare = self.channel.stream_stream if streamed else self.channel.unary_unary
        send = prepare(
            f"/{PACKAGE}.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        if streamed:
            answers = send(iter([self.parse(described, one) for one in request]), metadata=self.metadata, timeout=30)
            return [self.read(answer) for answer in answers]
        return self.read(send(self.parse(described, request), metadata=self.metadata, timeout=30))

    def watch(self, name, request):
        """The responses of a streaming call, until the caller stops reading."""
        service, method = name.split(".")
        described = self.pool.FindServiceByName(f"{PACKAGE}.{service}").FindMethodByName(method)
        self.called.add(name)
        send = self.channel.unary_stream(
            f"/{PACKAGE}.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        for answer in send(self.parse(described, request), metadata=self.metadata, timeout=30):
            yield self.read(answer)

    def parse(self, described, given):
        message = GetMessageClass(described.input_type)()
        return json_format.ParseDict(given, message, descriptor_pool=self.pool)

    def read(self, message):
        return json_format.MessageToDict(message, descriptor_pool=self.pool)


def configure(api, wanted):
    """Organizations, event types, webhooks. Returns the webhook."""
    api("OrganizationService.CreateOrganization", {"organizationId": "globex", "organization": {"displayName": "Globex"}})
    assert api("OrganizationService.GetOrganization", {"name": "organizations/globex"})["displayName"] == "Globex"
    renamed = {"name": "organizations/globex", "displayName": "Globex Corporation"}
    api("OrganizationService.UpdateOrganization", {"organization": renamed, "updateMask": "displayName"})
    listed = api("OrganizationService.ListOrganizations", {})["organizations"]
    assert "organizations/globex" in [one["name"] for one in listed]

    api("EventTypeService.CreateEventType", {"eventTypeId": "order", "eventType": {"schemaMode": "SCHEMA_MODE_WARN"}})
    changed = {"name": "eventTypes/order", "description": "An order"}
    api("EventTypeService.UpdateEventType", {"eventType": changed, "updateMask": "description"})
    schema = {"name": "eventTypes/order", "jsonSchema": '{"type": "object"}'}
    assert api("EventTypeService.UpdateEventType", {"eventType": schema})["schemaVersion"] == 1
    schemas = api("EventTypeService.ListEventTypeSchemas", {"parent": "eventTypes/order"})["schemas"]
    assert [one["version"] for one in schemas] == [1]
    assert api("EventTypeService.GetEventType", {"name": "eventTypes/order"})["description"] == "An order"
    api("EventTypeService.ArchiveEventType", {"name": "eventTypes/order"})
    api("EventTypeService.UnarchiveEventType", {"name": "eventTypes/order"})
    assert len(api("EventTypeService.ListEventTypes", {})["eventTypes"]) >= 3
    only = {"eventTypeId": "unused", "eventType": {"visibleTo": ["organizations/globex"]}}
    assert api("EventTypeService.CreateEventType", only)["visibleTo"] == ["organizations/globex"]
    api("EventTypeService.DeleteEventType", {"name": "eventTypes/unused"})

    assert api("WebhookService.CheckWebhookUrl", {"payloadUrl": wanted["url"]})["allowed"]
    webhook = api(
        "WebhookService.CreateWebhook",
        {"parent": "organizations/globex", "webhook": {"payloadUrl": wanted["url"], "events": ["order"]}},
    )
    name = {"name": webhook["name"]}
    secret = webhook["signingSecret"]
    assert api("WebhookService.RevealSigningSecret", name)["signingSecret"] == secret
    assert api("WebhookService.RotateSigningSecret", name)["signingSecret"] != secret
    api("WebhookService.CompleteSigningSecretRotation", name)
    change = {"webhook": name | {"filter": "payload.total > 100"}, "updateMask": "filter"}
    assert api("WebhookService.UpdateWebhook", change)["filter"] == "payload.total > 100"
    assert api("WebhookService.GetWebhook", name)["events"] == ["order"]
    assert len(api("WebhookService.ListWebhooks", {"parent": "organizations/globex"})["webhooks"]) == 1
    api("WebhookService.UpdateWebhook", {"webhook": name | {"active": False}, "updateMask": "active"})
    assert api("WebhookService.ResumeWebhook", name)["webhook"]["active"]
    pinged = api("WebhookService.PingWebhook", name | {"wait": True})["delivery"]
    assert pinged["state"] == "DELIVERY_STATE_DELIVERED", pinged
    sample = {"draft": {"object": {"total": 120}}}
    assert api("WebhookService.TestWebhookFilter", {"filter": "payload.total > 100"} | sample)["matches"]
    return webhook["name"]


def publish(api):
    """Publishes singly, in a batch and over a stream. Returns the events, each owed to the webhook."""
    event = lambda total: {
        "organization": "organizations/globex",
        "eventType": "order",
        "requestId": f"order-{total}",
        "json": json.dumps({"total": total}),
    }
    first = api("EventService.PublishEvent", event(101))
    batch = api("EventService.BatchPublishEvents", {"requests": [event(102), event(1)]})["results"]
    counts = [result["published"].get("deliveryCount", 0) for result in batch]
    assert counts == [1, 0], counts
    answers = api("EventService.PublishStream", [{"sequence": "7", "event": event(103)}])
    acks = [ack for answer in answers for ack in answer["acks"]]
    assert [ack["sequence"] for ack in acks] == ["7"], acks
    small = batch[1]["published"]["event"]
    explained = api("EventService.ExplainEvent", {"name": small})["explanations"]
    assert [one["reason"] for one in explained] == ["EXPLANATION_REASON_FILTERED"], explained
    assert json.loads(api("EventService.GetEvent", {"name": first["event"]})["json"]) == {"total": 101}
    assert len(api("EventService.ListEvents", {"parent": "organizations/globex", "eventType": "order"})["events"]) == 4
    wanted = {"parent": "organizations/globex", "filter": "payload.total == 102", "eventType": "order"}
    assert [one["requestId"] for one in api("EventService.ListEvents", wanted)["events"]] == ["order-102"]
    return first["event"], batch[0]["published"]["event"], acks[0]["result"]["published"]["event"]


def steer(api, events):
    """Retries, skips and cancels deliveries of these events. Each has failed once, because the receiver responds with 500."""
    names = []
    for event in events:
        listed = {"parent": "organizations/globex", "event": event}
        names.append(api("DeliveryService.ListDeliveries", listed)["deliveries"][0]["name"])
        until = time.monotonic() + 30
        while api("DeliveryService.GetDelivery", {"name": names[-1]})["state"] != "DELIVERY_STATE_RETRYING":
            assert time.monotonic() < until
            time.sleep(0.01)
    attempts = api("DeliveryService.ListAttempts", {"parent": names[0]})["attempts"]
    assert attempts[0]["responseStatus"] == 500, attempts
    api("DeliveryService.RetryDelivery", {"name": names[0]})
    skipped = api("DeliveryService.SkipDelivery", {"name": names[1]})["delivery"]
    cancelled = api("DeliveryService.CancelDelivery", {"name": names[2]})["delivery"]
    assert [one["cancelReason"] for one in (skipped, cancelled)] == ["skipped", "cancelled"]


def repair(api, webhook):
    """Replays the skipped and cancelled deliveries, one at a time and all at once."""
    organization = {"parent": "organizations/globex"}
    watched = api.watch("DeliveryService.WatchDeliveries", organization | {"eventType": "order"})
    assert next(watched)["resumeToken"]
    ended = api("DeliveryService.ListDeliveries", organization | {"states": ["DELIVERY_STATE_CANCELLED"]})["deliveries"]
    made = api("DeliveryService.ReplayDelivery", {"name": ended[0]["name"]})["delivery"]
    assert made["replay"] and made["event"] == ended[0]["event"]
    seen = next(one for answer in watched for one in answer.get("deliveries", []))
    assert seen["eventType"] == "order", seen
    replay = api("ReplayService.ReplayDeliveries", organization | {"webhook": webhook, "dryRun": True})
    until = time.monotonic() + 30
    while replay["state"] == "REPLAY_STATE_RUNNING":
        assert time.monotonic() < until
        replay = api("ReplayService.GetReplay", {"name": replay["name"]})
    assert replay["matchedCount"] == "1", replay
    slow = api("ReplayService.ReplayDeliveries", organization | {"deliveriesPerSecond": 0.01})
    cancelled = api("ReplayService.CancelReplay", {"name": slow["name"]})["replay"]
    assert cancelled["state"] == "REPLAY_STATE_CANCELLED", cancelled
    assert len(api("ReplayService.ListReplays", organization)["replays"]) == 2
    api("DeliveryService.QueryDeliveryStats", {"name": webhook, "period": "STATS_PERIOD_HOUR"})


def fetch(api):
    """Deliveries that the receiver pulls."""
    wanted = {"deliveryMode": "DELIVERY_MODE_PULL", "events": ["order"]}
    created = {"parent": "organizations/globex", "webhook": wanted}
    webhook = api("WebhookService.CreateWebhook", created)["name"]
    pulled = api("PullService.PullDeliveries", {"webhook": webhook, "wait": "5s"})["deliveries"]
    assert [one["eventType"] for one in pulled] == ["ping"], pulled
    taken = {"webhook": webhook, "ackIds": [one["ackId"] for one in pulled]}
    assert api("PullService.ExtendDeliveries", taken | {"ackTimeout": "60s"}) == {}
    assert api("PullService.AcknowledgeDeliveries", taken) == {}
    assert api("PullService.AcknowledgeDeliveries", taken)["staleAckIds"] == taken["ackIds"]
    return webhook


def operate(api):
    """Tokens, portal links, the audit log, the installation."""
    wanted = {"displayName": "dashboard", "scope": "TOKEN_SCOPE_MANAGE", "organization": "organizations/globex", "ttl": "3600s"}
    token = api("TokenService.CreateToken", {"token": wanted})
    assert token["secret"].startswith("hw_") and "expireTime" in token, token
    got = api("TokenService.GetToken", {"name": token["name"]})
    assert got["state"] == "TOKEN_STATE_ACTIVE" and "secret" not in got, got
    assert len(api("TokenService.ListTokens", {"organization": "organizations/globex"})["tokens"]) == 1
    revoked = api("TokenService.RevokeToken", {"name": token["name"]})["token"]
    assert revoked["state"] == "TOKEN_STATE_REVOKED", revoked
    link = api("PortalService.CreatePortalLink", {"organization": "organizations/globex", "readOnly": True})
    assert "/portal/" in link["url"] and link["portalLink"].startswith("portalLinks/lnk_"), link
    api("PortalService.RevokePortalLink", {"name": link["portalLink"], "organization": "organizations/globex"})
    log = api("AuditService.ListAuditEntries", {"parent": "organizations/globex", "pageSize": 2})
    assert [one["action"] for one in log["auditEntries"]] == ["portal_link.revoke", "portal_link.create"], log
    assert log["auditEntries"][1]["details"]["read_only"] is True
    installation = api("InstallationService.GetInstallation", {})
    assert installation["store"] == "STORE_KIND_SQLITE" and installation["nodeCount"] == 1, installation
    assert "grpc-address" in [one["name"] for one in installation["settings"]]
    problems = api("InstallationService.ListProblems", {"pageSize": 5}).get("problems", [])
    assert all(one["kind"].startswith("PROBLEM_KIND_") and one["message"] for one in problems), problems
    assert api("OperationService.ListOperations", {}) == {}, "none of these backlogs is large"
    for call in ("OperationService.GetOperation", "OperationService.CancelOperation"):
        try:
            raise AssertionError(api(call, {"name": "operations/op_0000000000001"}))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error


def main():
    wanted = json.load(sys.stdin)
    api = Api(wanted["address"], wanted["token"])
    webhook = configure(api, wanted)
    steer(api, publish(api))
    repair(api, webhook)
    api("NodeService.ListNodes", {})
    operate(api)
    for name in (webhook, fetch(api)):
        api("WebhookService.DeleteWebhook", {"name": name})
    api("OrganizationService.DeleteOrganization", {"name": "organizations/globex"})
    json.dump({"missed": sorted(api.all_calls() - api.called), "made": len(api.called)}, sys.stdout)


if __name__ == "__main__":
    main()
