"""Makes every call with tokens that must not allow it: none, a wrong one, one of another scope, one of another organization.

The result names calls without a listed authorization in `unlisted`. The authorization of a new call must be listed.
"""

import json
import sys

import grpc

from conversation import Api

ORDER = ["read", "publish", "portal", "manage", "admin"]


def allows(scope, needed):
    if needed == "any":
        return scope != "portal"
    above = scope in ("manage", "admin") and ORDER.index(scope) >= ORDER.index(needed)
    return scope == needed or above


def code(api, token, call, request):
    """The name of the response's status code. If items have their own codes, that of the first item."""
    api.metadata = [("authorization", f"Bearer {token}")] if token else []
    service, method = call.split(".")
    described = api.pool.FindServiceByName(f"hookwright.v1.{service}").FindMethodByName(method)
    try:
        if call == "DeliveryService.WatchDeliveries":
            for _ in api.watch(call, request):
                return "OK"
        streamed = described.client_streaming
        answer = api(call, [request] if streamed else request)
    except grpc.RpcError as error:
        return error.code().name
    items = answer[0].get("acks", []) if streamed and answer else answer.get("results", []) if isinstance(answer, dict) else []
    for item in items:
        error = item.get("result", item).get("error")
        if error:
            return {5: "NOT_FOUND", 7: "PERMISSION_DENIED", 16: "UNAUTHENTICATED"}.get(error.get("code"), str(error))
    return "OK"


def main():
    given = json.load(sys.stdin)
    address, tokens, calls = given["address"], given["tokens"], given["calls"]
    api = Api(address, tokens["admin"])
    described = api.all_calls()
    faults = []

    def expect(call, who, token, request, wanted):
        came = code(api, token, call, request)
        if came not in wanted:
            faults.append(f"{call} with {who}: {came} instead of {' or '.join(wanted)}")
        return came

    for call, wants in calls.items():
        request, needed = wants["request"], wants["scope"]
        expect(call, "no token", "", request, ["UNAUTHENTICATED"])
        expect(call, "an unknown token", "hw_" + 64 * "0", request, ["UNAUTHENTICATED"])
        for scope in ORDER:
            if not allows(scope, needed):
                expect(call, f"the scope {scope}", tokens[scope], request, ["PERMISSION_DENIED"])
            elif needed == "read" and scope == "read":
                expect(call, "the scope read", tokens[scope], request, ["OK", "NOT_FOUND"])
        if wants.get("shared"):
            continue
        # A token of another organization, with any scope there. No answer shows whether a resource exists.
        here = expect(call, "another organization's token", tokens["stranger"], request, ["PERMISSION_DENIED", "NOT_FOUND"])
        nowhere = json.loads(json.dumps(request).replace("organizations/acme", "organizations/nowhere").replace('"acme"', '"nowhere"'))
        expect(call, "another organization's token, for nothing", tokens["stranger"], nowhere, [here])
    print(json.dumps({"faults": faults, "unlisted": sorted(described - set(calls)), "unknown": sorted(set(calls) - described)}))


if __name__ == "__main__":
    main()
