"""The connection to Hookwright, and explanations of its errors. The programs in this folder share it."""

import os
import random
import sys
from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hookwright.v1 import event_service_pb2_grpc, event_type_service_pb2_grpc
from hookwright.v1 import organization_service_pb2_grpc, webhook_service_pb2_grpc

# Every call has a deadline: without it, a call to a silent machine never returns.
TIMEOUT_SECONDS = 10
# gRPC accepts 4 MiB by default. An event with the largest payload exceeds that.
OPTIONS = [("grpc.max_receive_message_length", 64 << 20)]


class Hookwright:
    """Clients of the services, and the metadata of each call."""

    def __init__(self, channel, token):
        self.metadata = [("authorization", f"Bearer {token}")]
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.event_types = event_type_service_pb2_grpc.EventTypeServiceStub(channel)
        self.organizations = organization_service_pb2_grpc.OrganizationServiceStub(channel)
        self.webhooks = webhook_service_pb2_grpc.WebhookServiceStub(channel)

    def call(self, method, request):
        """`hookwright.call(hookwright.events.PublishEvent, request)`: with the token and a deadline."""
        return method(request, metadata=self.metadata, timeout=TIMEOUT_SECONDS)


def connect():
    """Connects to HOOKWRIGHT_ADDRESS with HOOKWRIGHT_TOKEN. Open one connection and keep it: it carries any
    number of calls at once, and opens itself again after it was lost."""
    address = urlsplit(os.environ.get("HOOKWRIGHT_ADDRESS", "http://127.0.0.1:50051"))
    token = os.environ.get("HOOKWRIGHT_TOKEN")
    if not token:
        sys.exit("HOOKWRIGHT_TOKEN is not set: give it an API token, for example the admin token that the server made")
    if address.scheme == "https":
        channel = grpc.secure_channel(address.netloc, grpc.ssl_channel_credentials(), options=OPTIONS)
    elif address.scheme == "http":
        channel = grpc.insecure_channel(address.netloc, options=OPTIONS)
    else:
        sys.exit("HOOKWRIGHT_ADDRESS must be a URL, for example http://127.0.0.1:50051 or https://hooks.internal:50051")
    return Hookwright(channel, token)


def details(error, kind):
    """The google.rpc detail of this kind in a gRPC error, or None."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        if packed.Is(kind.DESCRIPTOR):
            unpacked = kind()
            packed.Unpack(unpacked)
            return unpacked
    return None


def explain(error):
    """The error as text: the code, the stable reason, and each invalid field."""
    info = details(error, error_details_pb2.ErrorInfo)
    reason = f" {info.reason}" if info else ""
    lines = [f"{error.code().name}{reason}: {error.details()}"]
    request = details(error, error_details_pb2.BadRequest)
    for violation in request.field_violations if request else []:
        lines.append(f"  {violation.field}: {violation.description}")
    return "\n".join(lines)


def retry_delay(error, attempt):
    """The delay in seconds before a retry of the same call, or None if a retry cannot help."""
    retry = details(error, error_details_pb2.RetryInfo)
    if retry:
        return retry.retry_delay.ToTimedelta().total_seconds()
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return random.uniform(0.5, 1) * min(10, 0.2 * 2**attempt)
    return None
