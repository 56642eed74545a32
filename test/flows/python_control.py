"""An operator's script in Python: grpcio, and what grpc_tools makes of proto/. Nothing of ours.

Arguments: the edge's host and port, an API token. Prints what it saw as one line of JSON.
"""

import json
import sys

import grpc
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tideway.control.v1 import control_service_pb2 as control
from tideway.control.v1 import control_service_pb2_grpc, resources_pb2

DEADLINE_SEC = 20


def main(address: str, api_token: str) -> None:
    stub = control_service_pb2_grpc.ControlServiceStub(grpc.insecure_channel(address))
    caller = {"metadata": [("authorization", f"Bearer {api_token}")], "timeout": DEADLINE_SEC}
    seen: dict = {}

    [organization] = stub.ListOrganizations(control.ListOrganizationsRequest(), **caller).organizations
    seen["organization"] = [organization.id, organization.slug, organization.state]

    wanted = resources_pb2.Project(name="From Python", platform="python")
    project = stub.CreateProject(
        control.CreateProjectRequest(organization=organization.slug, create=wanted), **caller
    )
    seen["project"] = [project.slug, project.platform, project.organization_id == organization.id]

    path = {"organization": str(organization.id), "project": project.slug}
    [key] = stub.ListProjectKeys(control.ListProjectKeysRequest(**path), **caller).keys
    seen["key"] = [len(key.public_key), key.public_key in key.dsn, key.HasField("rate_limit")]

    def limit(count: int, etag: str = ""):
        change = resources_pb2.ProjectKey(
            rate_limit=resources_pb2.RateLimit(window_sec=60, count=count), name="not in the mask", etag=etag
        )
        mask = field_mask_pb2.FieldMask(paths=["rate_limit"])
        request = control.UpdateProjectKeyRequest(**path, key=key.public_key, update=change, update_mask=mask)
        return stub.UpdateProjectKey(request, **caller)

    limited = limit(2**64 - 1, key.etag)
    seen["limited"] = [limited.rate_limit.window_sec, str(limited.rate_limit.count), limited.name == key.name]
    [again] = stub.ListProjectKeys(control.ListProjectKeysRequest(**path), **caller).keys
    seen["kept"] = again == limited

    seen["stale"] = refusal(lambda: limit(5, key.etag))
    seen["foreign"] = refusal(
        lambda: stub.ListProjects(control.ListProjectsRequest(organization="999"), **caller)
    )
    seen["taken"] = refusal(
        lambda: stub.CreateProject(
            control.CreateProjectRequest(
                organization=organization.slug, create=resources_pb2.Project(name="x", slug=project.slug)
            ),
            **caller,
        )
    )
    seen["stranger"] = refusal(lambda: stub.ListOrganizations(control.ListOrganizationsRequest(), timeout=DEADLINE_SEC))
    print(json.dumps(seen))


def refusal(call) -> list:
    """The code, and the reason that the details give."""
    try:
        call()
    except grpc.RpcError as error:
        reasons = []
        for detail in rpc_status.from_call(error).details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                reasons.append(info.reason)
        return [error.code().name, *reasons]
    return ["accepted"]


main(*sys.argv[1:])
