// Publishes many events over one stream: one JSON object on each line of standard input.
//
// The request id of a line is the prefix and the line number, so an interrupted run can be repeated: published lines are not
// published twice.

import { createInterface } from "node:readline";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";

import { connect, run } from "./connection.js";
import { EventService, type PublishAck, type PublishStreamRequestSchema } from "./gen/hookwright/v1/event_service_pb.js";

/** The events of standard input. The next one is requested when it can be sent, so a file of any size needs little
 * memory. */
async function* requests(
  organization: string,
  eventType: string,
  prefix: string,
): AsyncGenerator<MessageInitShape<typeof PublishStreamRequestSchema>> {
  let number = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    number += 1;
    if (line.trim()) {
      yield {
        sequence: BigInt(number),
        event: {
          organization: `organizations/${organization}`,
          eventType,
          payload: { case: "json", value: line.trim() },
          requestId: `${prefix}-${number}`,
        },
      };
    }
  }
}

type Outcome = "published" | "repeated" | "refused";

/** The result of one line. An error of one event does not end the stream. */
function outcome({ sequence, result }: PublishAck): Outcome {
  if (result?.result.case === "published") {
    return result.result.value.repeatedRequest ? "repeated" : "published";
  }
  const refused = result?.result.value;
  console.error(`line ${sequence}: ${refused?.reason}: ${refused?.message}`);
  for (const violation of refused?.fieldViolations ?? []) {
    console.error(`  ${violation.field}: ${violation.description}`);
  }
  return "refused";
}

await run(async ([organization, eventType, prefix]) => {
  if (!organization || !eventType || !prefix) {
    throw new Error("usage: node dist/publish-stream.js ORGANIZATION EVENT_TYPE REQUEST_ID_PREFIX < payloads.jsonl");
  }
  const counts: Record<Outcome, number> = { published: 0, repeated: 0, refused: 0 };
  const events = createClient(EventService, connect());
  // No deadline: the stream lasts as long as there are lines. Acknowledgements arrive in the order of commits.
  try {
    for await (const response of events.publishStream(requests(organization, eventType, prefix))) {
      for (const ack of response.acks) {
        counts[outcome(ack)] += 1;
      }
    }
  } catch (error) {
    console.error("run it again: what was published already is not published twice");
    throw error;
  }
  console.log(`published ${counts.published}, repeated ${counts.repeated}, refused ${counts.refused}`);
  if (counts.refused > 0) {
    process.exitCode = 1;
  }
});
