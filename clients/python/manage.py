"""Ensures that an organization exists and has a webhook for a URL.

usage: manage.py ORGANIZATION PAYLOAD_URL EVENT_TYPE...

HOOKWRIGHT_SIGNING_SECRET is the secret that a new webhook signs with; without it the server makes one.
"""

import os
import sys

import grpc

from connection import connect, explain
from hookwright.v1 import organization_service_pb2, webhook_service_pb2


def ensure_organization(hookwright, organization_id, display_name=""):
    """Creates the organization, unless it exists, and returns whether it did."""
    request = organization_service_pb2.CreateOrganizationRequest(
        organization_id=organization_id,
        organization=organization_service_pb2.Organization(display_name=display_name),
    )
    try:
        hookwright.call(hookwright.organizations.CreateOrganization, request)
        return True
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise
        return False


def webhooks(hookwright, organization_id):
    """All webhooks of an organization, page by page. A page may be short: only an empty token marks the end."""
    request = webhook_service_pb2.ListWebhooksRequest(parent=f"organizations/{organization_id}")
    while True:
        page = hookwright.call(hookwright.webhooks.ListWebhooks, request)
        yield from page.webhooks
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def ensure_webhook(hookwright, organization_id, webhook):
    """The webhook with this payload URL, and whether this call created it. URLs are stored in normal form, so the
    server is asked how this one will look."""
    check = webhook_service_pb2.CheckWebhookUrlRequest(payload_url=webhook.payload_url)
    checked = hookwright.call(hookwright.webhooks.CheckWebhookUrl, check)
    for existing in webhooks(hookwright, organization_id):
        if existing.payload_url == checked.normalized_url:
            return existing, False
    parent = f"organizations/{organization_id}"
    request = webhook_service_pb2.CreateWebhookRequest(parent=parent, webhook=webhook)
    return hookwright.call(hookwright.webhooks.CreateWebhook, request), True


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    organization_id, payload_url, *events = sys.argv[1:]
    secret = os.environ.get("HOOKWRIGHT_SIGNING_SECRET", "")
    wanted = webhook_service_pb2.Webhook(payload_url=payload_url, events=events, signing_secret=secret)
    hookwright = connect()
    try:
        ensure_organization(hookwright, organization_id)
        webhook, created = ensure_webhook(hookwright, organization_id, wanted)
    except grpc.RpcError as error:
        sys.exit(explain(error))
    if not created:
        print(f"exists {webhook.name}")
        return
    print(f"created {webhook.name}")
    if not secret:
        # Only the response of CreateWebhook contains the secret: store it for the receiver.
        print(f"signing secret {webhook.signing_secret}")


if __name__ == "__main__":
    main()
