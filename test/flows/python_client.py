"""A backend and a listener in Python: grpcio, and what grpc_tools makes of proto/. Nothing of ours.

Arguments: the edge's host and port, a publish token. Prints what it saw as one line of JSON.
"""

import json
import sys
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from tideway.stream.v1 import message_pb2, publish_service_pb2, publish_service_pb2_grpc
from tideway.stream.v1 import stream_service_pb2, stream_service_pb2_grpc

DEADLINE_SEC = 20


def main(address: str, publish_token: str) -> None:
    channel = grpc.insecure_channel(address)
    publisher = publish_service_pb2_grpc.PublishServiceStub(channel)
    streams = stream_service_pb2_grpc.StreamServiceStub(channel)
    as_publisher = [("authorization", f"Bearer {publish_token}")]
    seen: dict = {"health": health(channel)}

    access = streams.StartStream(
        stream_service_pb2.StartStreamRequest(organization="1"), timeout=DEADLINE_SEC
    ).conduit
    as_listener = [("authorization", f"Bearer {access.token}")]

    def message(phase: int, sequence: int, **payload) -> message_pb2.PublishRequest:
        made = message_pb2.PublishRequest(
            org_id=1,
            channel_id=access.channel_id,
            message_id=str(uuid.uuid4()),
            phase=phase,
            sequence=sequence,
        )
        made.client_timestamp.GetCurrentTime()
        if payload:
            made.payload.update(payload)
        return made

    def subscribe(last_event_id: str = ""):
        request = stream_service_pb2.SubscribeRequest(
            org_id=1, channel_id=access.channel_id, last_event_id=last_event_id
        )
        return streams.Subscribe(request, metadata=as_listener, timeout=DEADLINE_SEC)

    live = subscribe()
    hello = message(message_pb2.PHASE_START, 0)
    first = publisher.Publish(hello, metadata=as_publisher, timeout=DEADLINE_SEC)
    again = publisher.Publish(hello, metadata=as_publisher, timeout=DEADLINE_SEC)
    seen["repeated"] = [first.duplicate, again.duplicate, first.id == again.id]

    requests = [
        publish_service_pb2.PublishStreamRequest(message=made)
        for made in (
            message(message_pb2.PHASE_DELTA, 1, text="hello", list=[1, None, True]),
            message_pb2.PublishRequest(channel_id="x"),
            message(message_pb2.PHASE_END, 2**64 - 1),
            message(message_pb2.PHASE_DELTA, 3),
        )
    ]
    answers = publisher.PublishStream(iter(requests), metadata=as_publisher, timeout=DEADLINE_SEC)
    seen["answers"] = [
        [answer.position, "stored" if answer.WhichOneof("result") == "published" else answer.error.code]
        for answer in answers
    ]

    events = [event for event in live if event.WhichOneof("event") == "message"]
    seen["heard"] = [[event.message.phase, event.message.sequence] for event in events]
    seen["text"] = events[1].message.payload["text"]
    seen["resumed"] = [event.id for event in subscribe(events[0].id)] == [event.id for event in events[1:]]
    seen["refused"] = refusal(lambda: publisher.Publish(message_pb2.PublishRequest(), metadata=as_publisher))
    seen["stranger"] = refusal(lambda: publisher.Publish(hello))
    print(json.dumps(seen))


def health(channel: grpc.Channel) -> list:
    stub = health_pb2_grpc.HealthStub(channel)
    return [
        stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=DEADLINE_SEC).status
        for service in ("", "tideway.broker", "tideway.stream.v1.PublishService")
    ]


def refusal(call) -> list:
    """The code, and the fields that the details name."""
    try:
        call()
    except grpc.RpcError as error:
        fields = []
        for detail in rpc_status.from_call(error).details:
            bad_request = error_details_pb2.BadRequest()
            if detail.Unpack(bad_request):
                fields = sorted(violation.field for violation in bad_request.field_violations)
        return [error.code().name, fields]
    return ["accepted", []]


main(*sys.argv[1:])
