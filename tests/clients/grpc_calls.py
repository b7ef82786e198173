#!/usr/bin/env python3
"""Calls every RPC of a running sluicegate with Python's grpcio and checks the answers.

Usage: grpc_calls.py HOST:PORT PROTO_FOLDER

Stubs are made from the .proto files at run time. The server must be in stage CDC with table shop.orders, not paused,
generation 0; afterwards it is asked to stop. Packages: requirements.txt.
"""

import importlib
import pathlib
import sys
import tempfile

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

SECONDS = 20


def stubs(proto_folder, out_folder):
    """The generated modules by name, such as `status_pb2_grpc`."""
    files = sorted(str(path) for path in pathlib.Path(proto_folder).glob("sluicegate/v1/*.proto"))
    include = importlib.resources.files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{proto_folder}", f"-I{include}", f"--python_out={out_folder}", f"--grpc_python_out={out_folder}"]
    if not files or protoc.main(arguments + files) != 0:
        sys.exit(f"cannot compile the .proto files in {proto_folder}")
    sys.path.insert(0, str(out_folder))
    names = [pathlib.Path(file).stem + suffix for file in files for suffix in ("_pb2", "_pb2_grpc")]
    return {name: importlib.import_module(f"sluicegate.v1.{name}") for name in names}


def expect(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")
    print(f"ok {what}")


def refusal(call, request):
    """Code, ErrorInfo.reason and the violated fields of the error the call ends with."""
    try:
        call(request, timeout=SECONDS)
    except grpc.RpcError as error:
        reason, fields = None, []
        for detail in rpc_status.from_call(error).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                reason = (info.domain, info.reason)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                fields += [violation.field for violation in bad.field_violations]
        return error.code().name, reason, fields
    return "OK", None, []


def check_health(channel, v1):
    standard = health_pb2_grpc.HealthStub(channel)
    for name in ["", "liveness", "startup", "control", "source", "sink", "table/shop.orders"]:
        answer = standard.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
        expect(f"grpc.health.v1 Check {name!r}", answer.status, health_pb2.HealthCheckResponse.SERVING)
    try:
        standard.Check(health_pb2.HealthCheckRequest(service="nonsense"), timeout=SECONDS)
        sys.exit("an unknown health name was answered")
    except grpc.RpcError as error:
        expect("grpc.health.v1 Check of an unknown name", error.code().name, "NOT_FOUND")
    watch = standard.Watch(health_pb2.HealthCheckRequest(service="liveness"), timeout=SECONDS)
    expect("grpc.health.v1 Watch", next(watch).status, health_pb2.HealthCheckResponse.SERVING)
    watch.cancel()

    own = v1["health_pb2_grpc"].HealthServiceStub(channel)
    health = v1["health_pb2"]
    answer = own.Check(health.CheckRequest(service="liveness"), timeout=SECONDS)
    stage = v1["types_pb2"].Stage.Name(answer.stage)
    expect("HealthService.Check", (answer.status, stage), (health.SERVING_STATUS_SERVING, "STAGE_CDC"))


def check_reflection(channel):
    services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    wanted = {f"sluicegate.v1.{name}Service" for name in ("Health", "Control", "Status", "Metrics")}
    wanted.add("grpc.health.v1.Health")
    expect("reflection lists the services", wanted - services, set())


def check_status(channel, v1):
    service = v1["status_pb2_grpc"].StatusServiceStub(channel)
    status_pb2, types = v1["status_pb2"], v1["types_pb2"]
    status = service.GetStatus(status_pb2.GetStatusRequest(), timeout=SECONDS).status
    expect("StatusService.GetStatus", types.PipelineState.Name(status.state), "PIPELINE_STATE_STREAMING")
    expect("an Lsn as text and number", (status.current_lsn.text, status.current_lsn.value), ("0/1000", 0x1000))
    expect("the tables", [table.table_name for table in status.tables], ["shop.orders"])
    stream = service.WatchStatus(status_pb2.WatchStatusRequest(interval_ms=100), timeout=SECONDS)
    slots = [next(stream).status.slot_name for _ in range(2)]
    stream.cancel()
    expect("StatusService.WatchStatus", slots, ["app_slot", "app_slot"])


def check_metrics(channel, v1):
    service = v1["metrics_pb2_grpc"].MetricsServiceStub(channel)
    metrics_pb2 = v1["metrics_pb2"]
    metrics = service.GetMetrics(metrics_pb2.GetMetricsRequest(), timeout=SECONDS).metrics
    expect("MetricsService.GetMetrics", (metrics.lag_bytes, metrics.lag_events), (0x800, 3))
    stream = service.StreamMetrics(metrics_pb2.StreamMetricsRequest(interval_ms=100), timeout=SECONDS)
    times = [next(stream).metrics.timestamp.ToNanoseconds() for _ in range(2)]
    stream.cancel()
    expect("MetricsService.StreamMetrics", times[0] < times[1], True)


def check_control(channel, v1):
    service = v1["control_pb2_grpc"].ControlServiceStub(channel)
    pb = v1["control_pb2"]
    pause = pb.PauseRequest(guard=pb.Guard(request_id="one", expected_generation=0))
    first = service.Pause(pause, timeout=SECONDS).accepted
    expect("ControlService.Pause", (first.changed, first.generation, first.status.paused), (True, 1, True))
    expect("the same request again", service.Pause(pause, timeout=SECONDS).accepted, first)
    reused = pb.ResumeRequest(guard=pb.Guard(request_id="one"))
    want = ("ALREADY_EXISTS", ("sluicegate", "REQUEST_ID_REUSED"), [])
    expect("its id with another request", refusal(service.Resume, reused), want)
    late = pb.ResumeRequest(guard=pb.Guard(expected_generation=0))
    want = ("ABORTED", ("sluicegate", "GENERATION_MISMATCH"), [])
    expect("a generation that has passed", refusal(service.Resume, late), want)
    expect("ControlService.Resume", service.Resume(pb.ResumeRequest(), timeout=SECONDS).accepted.generation, 2)

    reload = pb.ReloadConfigRequest(flush_size=1000, flush_bytes=1 << 20, flush_interval_ms=100, tables=["shop.new"])
    results = service.ReloadConfig(reload, timeout=SECONDS).results
    outcomes = {result.setting: pb.SettingOutcome.Name(result.outcome) for result in results}
    applied = dict.fromkeys(["flush_size", "flush_bytes", "flush_interval_ms"], "SETTING_OUTCOME_APPLIED")
    expect("ControlService.ReloadConfig", outcomes, applied | {"tables": "SETTING_OUTCOME_NEEDS_RESTART"})
    want = ("FAILED_PRECONDITION", ("sluicegate", "NEEDS_RESTART"), ["tables"])
    expect("only what needs a restart", refusal(service.ReloadConfig, pb.ReloadConfigRequest(tables=["shop.new"])), want)

    expect("ControlService.Stop", service.Stop(pb.StopRequest(), timeout=SECONDS).accepted.changed, True)
    drained = service.DrainAndStop(pb.DrainAndStopRequest(), timeout=SECONDS).accepted
    expect("ControlService.DrainAndStop", drained.changed, True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    address, proto_folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as out_folder, grpc.insecure_channel(address) as channel:
        v1 = stubs(proto_folder, out_folder)
        check_reflection(channel)
        check_health(channel, v1)
        check_status(channel, v1)
        check_metrics(channel, v1)
        check_control(channel, v1)
    print("all calls answered as expected")


if __name__ == "__main__":
    main()
