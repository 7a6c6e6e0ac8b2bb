// Publishes one event.
//
// The request id names the fact, for example `clocking-123-created`. A retry with the same id returns the first event, so a
// call with an unknown outcome can be retried.

import { setTimeout as sleep } from "node:timers/promises";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type Client } from "@connectrpc/connect";

import { connect, explain, retryDelayMs, run, timeoutMs } from "./connection.js";
import {
  EventService,
  type PublishEventRequestSchema,
  type PublishEventResponse,
} from "./gen/hookwright/v1/event_service_pb.js";

const attempts = 5;

/** Publishes, and retries temporary errors. Resolves when the event is durable. */
async function publish(
  events: Client<typeof EventService>,
  request: MessageInitShape<typeof PublishEventRequestSchema>,
): Promise<PublishEventResponse> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await events.publishEvent(request, { timeoutMs });
    } catch (error) {
      const delay = retryDelayMs(error, attempt);
      if (delay === undefined || attempt === attempts) {
        throw error;
      }
      console.error(`${explain(error)}, again in ${Math.round(delay)} ms`);
      await sleep(delay);
    }
  }
}

await run(async ([organization, eventType, json, requestId]) => {
  if (!organization || !eventType || json === undefined || !requestId) {
    throw new Error("usage: node dist/publish.js ORGANIZATION EVENT_TYPE JSON REQUEST_ID");
  }
  const published = await publish(createClient(EventService, connect()), {
    organization: `organizations/${organization}`,
    eventType,
    payload: { case: "json", value: json }, // receivers get these bytes, unchanged
    requestId,
  });
  const what = published.repeatedRequest ? "repeated" : "published";
  const webhooks = published.deliveryCount === 1 ? "webhook" : "webhooks";
  console.log(`${what} ${published.event}, to be sent to ${published.deliveryCount} ${webhooks}`);
});
