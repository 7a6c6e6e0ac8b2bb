"""Publishes an event by reflection alone, without generated code, as grpcurl does."""

import json
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main():
    wanted = json.load(sys.stdin)
    channel = grpc.insecure_channel(wanted["address"])
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    metadata = [("authorization", f"Bearer {wanted['token']}")]

    def call(service, method, request):
        described = pool.FindServiceByName(service).FindMethodByName(method)
        message = json_format.ParseDict(request, GetMessageClass(described.input_type)(), descriptor_pool=pool)
        send = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        return json_format.MessageToDict(send(message, metadata=metadata, timeout=30), descriptor_pool=pool)

    request = {"organization": "organizations/acme", "eventType": "clocking", "json": wanted["payload"]}
    published = call("hookwright.v1.EventService", "PublishEvent", request)
    file = database.FindFileContainingSymbol("hookwright.v1.EventService")
    comments = [location.leading_comments for location in file.source_code_info.location]
    json.dump(
        {
            "services": sorted(database.get_services()),
            "event": published["event"],
            "comment": next(text for text in comments if "Publishes one event" in text),
        },
        sys.stdout,
    )


main()
