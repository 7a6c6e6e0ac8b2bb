"""Verifies one received request with third-party libraries, unaltered and with one byte changed."""

import base64
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from gidgethub import ValidationFailure
from gidgethub.sansio import validate_event
from standardwebhooks import Webhook, WebhookVerificationError


def accepted(check, refusal):
    try:
        check()
        return True
    except refusal:
        return False


def standard(request, body):
    webhook = Webhook(request["standard_form"])
    return accepted(lambda: webhook.verify(body, request["headers"]), WebhookVerificationError)


def gidgethub(request, body, header):
    signature = request["headers"][header]
    check = lambda: validate_event(body, signature=signature, secret=request["secret"])
    return accepted(check, ValidationFailure)


def ed25519(public_key, headers, body):
    """Whether the request is genuine. `public_key` is the webhook's, `whpk_...`; `headers` have names in lower case."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for part in headers["webhook-signature"].split(" "):
        version, _, signature = part.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(signature), signed)
                return True
            except InvalidSignature:
                pass
    return False


def main():
    request = json.load(sys.stdin)
    body = base64.b64decode(request["body"])
    altered = body.replace(b"created", b"deleted")
    assert altered != body
    json.dump(
        {
            "standardwebhooks": standard(request, body),
            "gidgethub_sha1": gidgethub(request, body, "tt-hook-signature"),
            "gidgethub_sha256": gidgethub(request, body, "tt-hook-signature-256"),
            "ed25519": ed25519(request["public_key"], request["headers"], body),
            "standardwebhooks_altered": standard(request, altered),
            "gidgethub_altered": gidgethub(request, altered, "tt-hook-signature-256"),
            "ed25519_altered": ed25519(request["public_key"], request["headers"], altered),
        },
        sys.stdout,
    )


main()
