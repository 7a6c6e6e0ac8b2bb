"""Reads event types, applications and endpoints from a Svix installation and prints them for import_webhooks.py.

usage: SVIX_TOKEN=... export_svix.py > installation.jsonl

SVIX_URL is the installation's address, https://api.eu.svix.com or https://api.us.svix.com for example. It only reads. The
output holds signing secrets: keep it as such, and delete it when it is imported.

It prints nothing before everything is read, so that an export that breaks off is never imported in part. Requests that Svix
limits (429) or cannot answer at the moment are repeated. At the end it tells on standard error what was exported and how many
warnings need your attention. The exit code is 1 where anything could not be exported.
"""

import collections
import email.utils
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Svix attempts at once, then after these delays (https://docs.svix.com/retries). Without them the webhooks get
# Hookwright's own schedule, which lasts about three days.
SVIX_DELAYS = ["5s", "300s", "1800s", "7200s", "18000s", "36000s", "36000s"]


# Maximum number of attempts of a request, and the maximum delay between two of them.
TRIES = 10
WAIT_SECONDS_MAX = 120
PASSING = (429, 500, 502, 503, 504)


class Svix:
    def __init__(self, url, token):
        self.url = url.rstrip("/")
        self.token = token

    def get(self, path, **query):
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {self.token}"})
        for tried in range(1, TRIES):
            try:
                return read(request)
            except urllib.error.HTTPError as error:
                if error.code not in PASSING:
                    raise
                wait, what = retry_after(error, tried), f"{error.code} {error.reason}"
            except (urllib.error.URLError, TimeoutError) as error:
                wait, what = backoff(tried), str(error)
            print(f"{path}: {what}; once more in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)
        return read(request)

    def list(self, path, **query):
        """Every item of a list, page by page."""
        while True:
            page = self.get(path, limit=100, **query)
            yield from page["data"]
            if page["done"]:
                return
            query["iterator"] = page["iterator"]


def read(request):
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def retry_after(error, tried):
    """The delay in seconds that the answer asks for: a number or a date."""
    asked = error.headers.get("Retry-After", "")
    try:
        seconds = float(asked)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(asked).timestamp() - time.time()
        except ValueError:
            return backoff(tried)
    return min(max(seconds, 0), WAIT_SECONDS_MAX)


def backoff(tried):
    return min(2**tried, WAIT_SECONDS_MAX)


def organization_id(application):
    """An organization's id: lower-case letters, digits and hyphens, up to 63."""
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
        # The id distinguishes endpoints of one URL when the import is repeated.
        "description": f"{endpoint.get('description') or ''} [Svix {endpoint['id']}]".strip()[-1000:],
        "headers": headers["headers"],
        "retrySchedule": {"delays": SVIX_DELAYS},
        "timeout": "15s",
    }
    key = svix.get(f"{path}/secret")["key"]
    if key.startswith("whsk_"):
        warn(f"{endpoint['url']}: its asymmetric key stays in Svix: the webhook gets another, which its receiver must learn")
        converted["ed25519Signing"] = True
    else:
        converted["signingSecret"] = standard_form(key)
    rate = endpoint.get("throttleRate") or endpoint.get("rateLimit")
    if rate:
        converted["requestsPerSecond"] = rate
    if endpoint.get("channels"):
        converted["filter"] = f"attributes.channel in {json.dumps(endpoint['channels'])}"
    return converted


def standard_form(key):
    """Svix returns secrets with or without their prefix."""
    return key if key.startswith("whsec_") else f"whsec_{key}"


def warn(message):
    counted["warnings"] += 1
    print(message, file=sys.stderr)


def event_type(given):
    name = given["name"]
    if given.get("schemas"):
        warn(f"event type {name}: its schema is not exported, see the guide")
    if given.get("featureFlag") or given.get("featureFlags"):
        warn(f"event type {name}: its feature flag is not exported: every organization may subscribe to it")
    archived = bool(given.get("archived"))
    counted["event types"] += 1
    counted["archived"] += archived
    description = (given.get("description") or "")[:1000]
    return {"eventTypeId": name, "eventType": {"description": description, "archived": archived}}


def export(svix):
    for given in svix.list("event-type", include_archived="true"):
        yield event_type(given)
    ids = {}
    for application in svix.list("app"):
        name = organization_id(application)
        other = ids.setdefault(name, application["id"])
        if not name or other != application["id"]:
            fail(f"{application['id']} and {other} would both be the organization `{name}`: give one another uid")
            continue
        if application.get("throttleRate") or application.get("rateLimit"):
            warn(f"{name}: the application's rate limit is not exported: limits are those of webhooks")
        organization = {"organizationId": name, "displayName": application["name"][:200]}
        counted["organizations"] += 1
        yield organization
        for endpoint in svix.list(f"app/{application['id']}/endpoint"):
            if endpoint.get("disabled"):
                warn(f"{name}: {endpoint['url']} is disabled in Svix: it is imported inactive, as all are")
            try:
                yield organization | {"webhook": webhook(svix, application, endpoint)}
                counted["webhooks"] += 1
            except urllib.error.HTTPError as error:
                fail(f"{name}: {endpoint['url']} ({endpoint['id']}): {explain(error)}")


def fail(message):
    counted["failures"] += 1
    print(f"NOT EXPORTED: {message}", file=sys.stderr)


def explain(error):
    return f"{error.url}: {error.code} {error.reason}: {error.read(1000).decode(errors='replace')}"


# Counts of exported objects, and of objects that could not be exported.
counted = collections.Counter()


def summary():
    return (
        f"exported {counted['event types']} event types ({counted['archived']} of them archived), "
        f"{counted['organizations']} organizations, {counted['webhooks']} webhooks; "
        f"{counted['warnings']} warnings, {counted['failures']} not exported"
    )


def main():
    token = os.environ.get("SVIX_TOKEN")
    if not token:
        sys.exit(__doc__)
    svix = Svix(os.environ.get("SVIX_URL", "https://api.svix.com"), token)
    try:
        records = list(export(svix))
    except urllib.error.HTTPError as error:
        sys.exit(f"the export broke off, and nothing was printed: {explain(error)}")
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(f"the export broke off, and nothing was printed: {error}")
    for record in records:
        print(json.dumps(record))
    print(summary(), file=sys.stderr)
    sys.exit(1 if counted["failures"] else 0)


if __name__ == "__main__":
    main()
