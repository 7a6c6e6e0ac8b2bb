"""Reads event types, applications and endpoints from a Svix installation and prints them as import_webhooks.py takes them.

usage: SVIX_TOKEN=... export_svix.py > installation.jsonl

SVIX_URL is the installation's address, https://api.eu.svix.com or https://api.us.svix.com for example. It only reads. The
output holds signing secrets: keep it as such, and delete it when it is imported.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

# Svix tries at once, then after these delays (https://docs.svix.com/retries). Without this the webhooks get
# Hookwright's own schedule, which lasts about three days.
SVIX_DELAYS = ["5s", "300s", "1800s", "7200s", "18000s", "36000s", "36000s"]


class Svix:
    def __init__(self, url, token):
        self.url = url.rstrip("/")
        self.token = token

    def get(self, path, **query):
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def list(self, path, **query):
        """Every item of a list, page by page."""
        while True:
            page = self.get(path, limit=100, **query)
            yield from page["data"]
            if page["done"]:
                return
            query["iterator"] = page["iterator"]


def organization_id(application):
    """An organization's id is made of lower-case letters, digits and hyphens, up to 63 of them."""
    given = application.get("uid") or application["id"]
    return re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")[:63].rstrip("-")


def webhook(svix, application, endpoint):
    """An endpoint as a webhook. It is inactive, so that nothing is sent before you want it."""
    path = f"app/{application['id']}/endpoint/{endpoint['id']}"
    headers = svix.get(f"{path}/headers")
    if headers.get("sensitive"):
        warn(f"{endpoint['url']}: Svix does not tell the values of {headers['sensitive']}: add them by hand")
    converted = {
        "payloadUrl": endpoint["url"],
        "events": endpoint.get("eventTypes") or endpoint.get("filterTypes") or ["*"],
        "active": False,
        "description": endpoint.get("description", ""),
        "signingSecret": standard_form(svix.get(f"{path}/secret")["key"]),
        "headers": headers["headers"],
        "retrySchedule": {"delays": SVIX_DELAYS},
        "timeout": "15s",
    }
    rate = endpoint.get("throttleRate") or endpoint.get("rateLimit")
    if rate:
        converted["requestsPerSecond"] = rate
    if endpoint.get("channels"):
        converted["filter"] = f"attributes.channel in {json.dumps(endpoint['channels'])}"
    return converted


def standard_form(key):
    """Svix gives secrets with their prefix or without it."""
    return key if key.startswith("whsec_") else f"whsec_{key}"


def warn(message):
    print(message, file=sys.stderr)


def export(svix):
    for event_type in svix.list("event-type"):
        yield {"eventTypeId": event_type["name"], "eventType": {"description": event_type.get("description", "")}}
    ids = {}
    for application in svix.list("app"):
        name = organization_id(application)
        other = ids.setdefault(name, application["id"])
        if other != application["id"]:
            sys.exit(f"{other} and {application['id']} would both be the organization {name}: give one another uid")
        organization = {"organizationId": name, "displayName": application["name"][:200]}
        yield organization
        for endpoint in svix.list(f"app/{application['id']}/endpoint"):
            if endpoint.get("disabled"):
                warn(f"{name}: {endpoint['url']} is disabled in Svix: it is imported inactive, as all are")
            yield organization | {"webhook": webhook(svix, application, endpoint)}


def main():
    token = os.environ.get("SVIX_TOKEN")
    if not token:
        sys.exit(__doc__)
    svix = Svix(os.environ.get("SVIX_URL", "https://api.svix.com"), token)
    try:
        for record in export(svix):
            print(json.dumps(record))
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url}: {error.code} {error.reason}: {error.read(1000).decode(errors='replace')}")


if __name__ == "__main__":
    main()
