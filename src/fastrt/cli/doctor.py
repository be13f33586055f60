"""``fastrt doctor``."""

from dataclasses import asdict

from rich.table import Table

from fastrt.cli.arguments import AsJson
from fastrt.cli.output import result_console, say, say_json
from fastrt.cli.progress import stage
from fastrt.doctor.diagnosis import Diagnosis, TargetState, diagnose


def run(as_json: AsJson = False) -> None:
    """Examine this host: CPU, memory, GPU, runtimes, the precisions of each target, and what to install."""
    with stage("trying each runtime"):
        found = diagnose()
    if as_json:
        say_json(asdict(found))
    else:
        _print(found)


def _print(found: Diagnosis) -> None:
    host, memory = found.host, found.host["memory_gb"]
    features = [name for name, has in host["features"].items() if has] or ["features unknown"]
    lacks = [name for name, has in host["features"].items() if has is False]
    lines = {
        "CPU": f"{host['processor']}, {host['cores']} cores",
        "features": ", ".join(features) + (f"; not {', '.join(lacks)}" if lacks else ""),
        "memory": f"{memory['total']} GB, {memory['available']} GB available",
        "GPU": ", ".join(host["gpus"]) or "none found by CUDA",
        "driver": host["nvidia_driver"] or "no NVIDIA driver",
        "system": f"{host['system']}, Python {host['python']}, fastrt {host['fastrt']}",
    }
    for name, text in lines.items():
        say(f"{name:<9} {text}")
    console = result_console()
    runtimes = _table("runtime", "version", "for", "state")
    for runtime in found.runtimes:
        state = "ok" if runtime.problem is None else f"{runtime.problem}. Run {runtime.install}"
        runtimes.add_row(runtime.name, runtime.version or "", runtime.purpose, state)
    console.print(runtimes)
    targets = _table("target", "computes", "int8", "state")
    for target in found.targets:
        targets.add_row(target.name, ", ".join(target.precisions) or "nothing", _describe_int8(target), _state(target))
    console.print(targets)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _describe_int8(target: TargetState) -> str:
    speed = {True: "fast", False: "not fast", None: "unknown"}[target.int8_is_fast]
    return f"{speed} ({target.int8})" if "int8" in target.precisions else target.int8


def _state(target: TargetState) -> str:
    if target.problem is not None:
        return ". ".join([target.problem, *(f"Run {command}" for command in target.install)])
    return "; ".join(f"{precision}: {reason}" for precision, reason in target.failing.items()) or "ok"
