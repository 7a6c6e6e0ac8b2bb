// The connection to Hookwright, and what its errors mean. The programs beside this file share it.

import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** Every call has a deadline: without one, a call to a machine that went silent never returns. */
export const timeoutMs = 10_000;

/**
 * Connects as HOOKWRIGHT_ADDRESS and HOOKWRIGHT_TOKEN say. Make one transport and keep it: it carries any number of calls at
 * once, and connects again after the connection was lost.
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

/** What went wrong, for people: the code, the stable reason, and each field at fault. */
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
 * What may pass by itself. Canceled and Aborted are what Connect makes of a connection that broke off or was reset: nobody here
 * cancels a call, and the server aborts only updates that name an etag, which are not made here.
 */
const passing = [Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.Aborted];

/** How long to wait before the same call is made again; undefined where a repeat would not help. */
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

/** Runs a program: its error is printed as people can read it, and ends it with status 1. */
export async function run(program: (args: string[]) => Promise<void>): Promise<void> {
  try {
    await program(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof ConnectError ? explain(error) : error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
