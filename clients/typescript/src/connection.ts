// The connection to Hookwright, and explanations of its errors. The programs in this folder share it.

import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** Every call has a deadline: without it, a call to a silent machine never returns. */
export const timeoutMs = 10_000;

/**
 * Connects to HOOKWRIGHT_ADDRESS with HOOKWRIGHT_TOKEN. Create one transport and keep it: it carries any number of concurrent
 * calls, and reconnects by itself.
 */
export function connect(): Transport {
  const token = process.env["HOOKWRIGHT_TOKEN"];
  if (!token) {
    throw new Error("HOOKWRIGHT_TOKEN is not set: give it an API token, for example the admin token that the server made");
  }
  const withToken: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  return createGrpcTransport({
    baseUrl: process.env["HOOKWRIGHT_ADDRESS"] ?? "http://127.0.0.1:50051",
    interceptors: [withToken],
  });
}

/** The error as text: the code, the stable reason, and each invalid field. */
export function explain(error: unknown): string {
  const answer = ConnectError.from(error);
  const info = answer.findDetails(ErrorInfoSchema)[0];
  const reason = info ? ` ${info.reason}` : "";
  const fields = answer
    .findDetails(BadRequestSchema)
    .flatMap((request) => request.fieldViolations)
    .map((violation) => `\n  ${violation.field}: ${violation.description}`);
  return `${Code[answer.code]}${reason}: ${answer.rawMessage}${fields.join("")}`;
}

/**
 * Temporary errors. Connect reports a broken or reset connection as Canceled or Aborted. These programs cancel no calls, and the
 * server aborts only updates with an etag, which they do not send.
 */
const passing = [Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.Aborted];

/** The delay before a retry of the same call; undefined if a retry cannot help. */
export function retryDelayMs(error: unknown, attempt: number): number | undefined {
  const answer = ConnectError.from(error);
  const delay = answer.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay) {
    return Number(delay.seconds) * 1000 + delay.nanos / 1e6;
  }
  if (passing.includes(answer.code)) {
    return Math.min(10_000, 200 * 2 ** attempt) * (0.5 + Math.random() / 2);
  }
  return undefined;
}

/** Runs a program: prints its error as text, and then exits with status 1. */
export async function run(program: (args: string[]) => Promise<void>): Promise<void> {
  try {
    await program(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof ConnectError ? explain(error) : error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
