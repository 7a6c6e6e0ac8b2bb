// Receives webhooks: verifies the signature, answers at once, works afterwards, and detects duplicates.
//
// HOOKWRIGHT_SIGNING_SECRET is the webhook's secret, PORT the port on this machine (4567).

import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import { Webhook } from "standardwebhooks";

/** The largest payload that Hookwright sends, unless its operator changed the limit. */
const bodyBytesMax = 5_242_880;

interface Message {
  id: string;
  event: string;
  payload: unknown;
}

/**
 * Received events until they are processed. This one is in memory, so a restart loses events that were already answered with
 * success. A service should insert a row into its database here, with `webhook-id` as the unique key, which also replaces
 * `seen`.
 */
class Inbox {
  private static readonly waitingMax = 1_000;
  private static readonly seenMax = 100_000;
  private readonly waiting: Message[] = [];
  private readonly seen = new Set<string>();

  /** After "full" the id still counts as new. */
  put(message: Message): "new" | "repeated" | "full" {
    if (this.seen.has(message.id)) {
      return "repeated";
    }
    if (this.waiting.length >= Inbox.waitingMax) {
      return "full";
    }
    this.seen.add(message.id);
    if (this.seen.size > Inbox.seenMax) {
      const [oldest] = this.seen;
      this.seen.delete(oldest!);
    }
    this.waiting.push(message);
    setImmediate(() => this.work());
    return "new";
  }

  /** Processes the events, after they were answered. */
  private work(): void {
    const message = this.waiting.shift();
    if (message) {
      console.log(`verified ${message.event} ${message.id}`);
    }
  }
}

/** The raw body, or undefined if it is too large. */
async function read(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyBytesMax) {
      return undefined;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Returns the payload of a genuine request, and throws for any other. `body` is the raw bytes of the request, not JSON that was
 * parsed and serialized again.
 */
function verify(secret: string, headers: IncomingHttpHeaders, body: Buffer): unknown {
  const header = (name: string) => String(headers[name] ?? "");
  return new Webhook(secret).verify(body, {
    "webhook-id": header("webhook-id"),
    "webhook-timestamp": header("webhook-timestamp"),
    "webhook-signature": header("webhook-signature"),
  });
}

/** Answers a request: with its status. */
async function receive(secret: string, inbox: Inbox, request: IncomingMessage): Promise<number> {
  const body = await read(request);
  if (body === undefined) {
    return 413;
  }
  const header = (name: string) => String(request.headers[name] ?? "");
  let payload: unknown;
  try {
    payload = verify(secret, request.headers, body);
  } catch (error) {
    console.log(`refused: ${error instanceof Error ? error.message : error}`);
    return 401;
  }
  const message = { id: header("webhook-id"), event: header("tt-hook-event"), payload };
  const put = inbox.put(message);
  if (put === "repeated") {
    console.log(`repeated ${message.event} ${message.id}`);
  }
  return put === "full" ? 503 : 204; // after a 503 it is sent again
}

const secret = process.env["HOOKWRIGHT_SIGNING_SECRET"];
if (!secret) {
  throw new Error("HOOKWRIGHT_SIGNING_SECRET is not set");
}
const inbox = new Inbox();
const server = createServer((request, response) => {
  receive(secret, inbox, request).then(
    (status) => response.writeHead(status, status === 413 ? { connection: "close" } : {}).end(),
    () => response.destroy(), // the sender broke off
  );
});
server.listen(Number(process.env["PORT"] ?? 4567), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
