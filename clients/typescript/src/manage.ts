// Ensures that an organization exists and has a webhook for a URL.
//
// HOOKWRIGHT_SIGNING_SECRET is the signing secret of a new webhook; without it the server generates one.

import { Code, ConnectError, createClient, type Client, type Transport } from "@connectrpc/connect";

import { connect, run, timeoutMs } from "./connection.js";
import { OrganizationService } from "./gen/hookwright/v1/organization_service_pb.js";
import { WebhookService, type Webhook } from "./gen/hookwright/v1/webhook_service_pb.js";

type Webhooks = Client<typeof WebhookService>;

/** Creates the organization, unless it exists. */
async function ensureOrganization(transport: Transport, organizationId: string): Promise<void> {
  try {
    await createClient(OrganizationService, transport).createOrganization({ organizationId }, { timeoutMs });
  } catch (error) {
    if (ConnectError.from(error).code !== Code.AlreadyExists) {
      throw error;
    }
  }
}

/** The webhook with this payload URL, page by page. A page may be short: only an empty token marks the end. */
async function find(webhooks: Webhooks, parent: string, payloadUrl: string): Promise<Webhook | undefined> {
  let pageToken = "";
  do {
    const page = await webhooks.listWebhooks({ parent, pageToken }, { timeoutMs });
    const found = page.webhooks.find((webhook) => webhook.payloadUrl === payloadUrl);
    if (found) {
      return found;
    }
    pageToken = page.nextPageToken;
  } while (pageToken);
  return undefined;
}

await run(async ([organizationId, payloadUrl, ...events]) => {
  if (!organizationId || !payloadUrl || events.length === 0) {
    throw new Error("usage: node dist/manage.js ORGANIZATION PAYLOAD_URL EVENT_TYPE...");
  }
  const transport = connect();
  const webhooks = createClient(WebhookService, transport);
  const parent = `organizations/${organizationId}`;
  await ensureOrganization(transport, organizationId);
  // URLs are stored in normal form, which the server returns.
  const { normalizedUrl } = await webhooks.checkWebhookUrl({ payloadUrl }, { timeoutMs });
  const existing = await find(webhooks, parent, normalizedUrl);
  if (existing) {
    console.log(`exists ${existing.name}`);
    return;
  }
  const signingSecret = process.env["HOOKWRIGHT_SIGNING_SECRET"] ?? "";
  const created = await webhooks.createWebhook({ parent, webhook: { payloadUrl, events, signingSecret } }, { timeoutMs });
  console.log(`created ${created.name}`);
  if (!signingSecret) {
    // Only the response of CreateWebhook contains it: store it for the receiver.
    console.log(`signing secret ${created.signingSecret}`);
  }
});
