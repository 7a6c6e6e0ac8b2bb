"""Receives webhooks: verifies the signature, answers at once, works afterwards, and detects duplicates.

HOOKWRIGHT_SIGNING_SECRET is the webhook's secret, PORT where to listen on this machine (4567).
"""

import collections
import os
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

# The largest payload that Hookwright sends, unless its operator changed the limit.
BODY_BYTES_MAX = 5_242_880
SEEN_MAX = 100_000


class Inbox:
    """Received events until they are processed. This one is in memory, so a restart loses events that were answered
    with a success already: in a service put the row into your database here, with `webhook-id` as its unique key,
    which does the work of `seen` too."""

    def __init__(self):
        self._waiting = queue.Queue(maxsize=1000)
        self._seen = collections.OrderedDict()
        self._lock = threading.Lock()

    def put(self, message):
        """False for a duplicate. Raises queue.Full, after which the id still counts as new."""
        with self._lock:
            if message["id"] in self._seen:
                return False
            self._waiting.put_nowait(message)
            self._seen[message["id"]] = True
            if len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
            return True

    def work(self):
        """Processes the events, after they were answered."""
        while True:
            message = self._waiting.get()
            print(f"verified {message['event']} {message['id']}", flush=True)


def verify(secret, headers, body):
    """Returns the payload of a genuine request, or None. `headers` have names in lower case; `body` is the raw bytes of
    the request, not JSON that was parsed and serialized again."""
    try:
        return Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, ValueError) as error:  # ValueError: not even text, or no base64
        print(f"refused: {error}", flush=True)
        return None


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection for the next delivery
    timeout = 60

    def do_POST(self):
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        payload = verify(self.server.secret, headers, body)
        if payload is None:
            return self.answer(401)
        message = {"id": headers["webhook-id"], "event": headers.get("tt-hook-event"), "payload": payload}
        try:
            if not self.server.inbox.put(message):
                print(f"repeated {message['event']} {message['id']}", flush=True)
        except queue.Full:
            return self.answer(503)  # it will be sent again
        return self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Other log lines are not needed."""


def main():
    secret = os.environ.get("HOOKWRIGHT_SIGNING_SECRET") or sys.exit("HOOKWRIGHT_SIGNING_SECRET is not set")
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "4567"))), Receiver)
    server.secret = secret
    server.inbox = Inbox()
    threading.Thread(target=server.inbox.work, daemon=True).start()
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
