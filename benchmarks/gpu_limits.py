"""How far TensorRT engines are from what their GPU can do at best: ``python -m benchmarks.gpu_limits``, with PyTorch.

The peak of arithmetic is a large product of matrices, in half and in int8; that of memory a copy on the device. They
make the floors of what `benchmarks.tensorrt_speed` measured on such a GPU. In tables these stand beside the rates that
it has measured since, of images that lie on the GPU and embeddings that stay there.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

from benchmarks.floors import describe_floors, set_beside
from benchmarks.models import describe
from benchmarks.results import Row, engine_of, gpu_result, run_command

SIDE = 8192
COPIED = 1 << 30
RUNS = 50


def time_on_device(work: Callable[[], object]) -> float:
    """Seconds that the GPU takes, the median of `RUNS`."""
    import torch

    seconds: list[float] = []
    for _ in range(RUNS + 10):  # the first ones bring the clocks up
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return statistics.median(seconds[10:])


def measure_peaks() -> tuple[dict[str, float], float]:
    """Operations a second by precision, a multiplication and an addition being two; bytes read or written a second."""
    import torch

    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.float16) for _ in range(2))
    first, second = (torch.randint(-127, 128, (SIDE, SIDE), device="cuda", dtype=torch.int8) for _ in range(2))
    source = torch.empty(COPIED, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    operations = 2 * SIDE**3
    peaks = {
        "fp16": operations / time_on_device(lambda: left @ right),
        "int8": operations / time_on_device(lambda: torch._int_mm(first, second.t())),  # noqa: SLF001 -- no other is
    }
    return peaks, 2 * COPIED / time_on_device(lambda: target.copy_(source))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_limits", description=__doc__)
    parser.parse_args()
    import torch

    gpu = torch.cuda.get_device_name(0)
    measured = gpu_result(gpu, "tensorrt_speed")
    if not measured.is_file():
        parser.error(f"benchmarks.tensorrt_speed has measured nothing on an {gpu}; measure that first")
    speed: Row = json.loads(measured.read_text())
    peaks, bandwidth = measure_peaks()
    rates = {f"peak_{precision}_gop_s": round(peak / 1e9) for precision, peak in peaks.items()}
    machine = {**speed["machine"], "torch": torch.__version__, **rates, "bandwidth_gb_s": round(bandwidth / 1e9)}
    networks = {row["model"]: describe(row["model"]) for row in speed["rows"]}
    rows = []
    for row in speed["rows"]:
        title, precision, batch = row["model"], row["precision"], row["batch"]
        rows.append(describe_floors(title, networks[title], precision, batch, peaks[precision], bandwidth))
    result = {"command": "python -m benchmarks.gpu_limits", "machine": machine, "rows": rows}
    gpu_result(gpu, "gpu_limits").write_text(json.dumps(result, indent=1) + "\n")
    for row in list_rows(result):
        print(row)


def list_rows(result: Row) -> list[Row]:
    """Floors beside the rates that were measured on such a GPU."""
    speed: Row = json.loads(gpu_result(result["machine"]["gpu"], "tensorrt_speed").read_text())
    rates = {engine_of(row): row["images_s_on_device"] for row in speed["rows"] if "images_s_on_device" in row}
    return [
        set_beside(row, row["batch"] / rates[engine]) for row in result["rows"] if (engine := engine_of(row)) in rates
    ]


if __name__ == "__main__":
    run_command(main)
