// Makes sure that an organization exists and has a webhook for a URL.
//
// HOOKWRIGHT_SIGNING_SECRET is the secret that a new webhook signs with; without it the server makes one.

import { Code, ConnectError, createClient, type Client, type Transport } from "@connectrpc/connect";

import { connect, run, timeoutMs } from "./connection.js";
import { OrganizationService } from "./gen/hookwright/v1/organization_service_pb.js";
import { WebhookService, type Webhook } from "./gen/hookwright/v1/webhook_service_pb.js";

type Webhooks = Client<typeof WebhookService>;

/** Creates the organization, unless it is there. */
async function ensureOrganization(transport: Transport, organizationId: string): Promise<void> {
  try {
    await createClient(OrganizationService, transport).createOrganization({ organizationId }, { timeoutMs });
  } catch (error) {
    if (ConnectError.from(error).code !== Code.AlreadyExists) {
      throw error;
    }
  }
}

/** The webhook with this payload URL, page by page. A page may be short: only an empty token is the end. */
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
  // URLs are stored normalised: the server tells how this one will look.
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
    // It is shown when a webhook is created, and never in a list: keep it where the receiver finds it.
    console.log(`signing secret ${created.signingSecret}`);
  }
});
