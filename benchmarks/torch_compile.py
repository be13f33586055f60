"""PyTorch's ``torch.compile`` on the networks of `benchmarks.tensorrt_speed`: ``python -m benchmarks.torch_compile``.

The network's operations are run by PyTorch as they stand in the description, in fp16 and channels-last, compiled with
``mode="reduce-overhead"``, which captures CUDA graphs. Timed as the engines are: uint8 images in page-locked memory to
float32 embeddings on the host.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from benchmarks.models import SIZE, describe
from fastrt.benchmark.contest import warm_up
from fastrt.machine import describe_machine
from fastrt.passes.fold import fold_scales

RESULT = Path(__file__).parent / "results" / "torch_compile.json"
BATCHES = (1, 32)
RUNS = 200


def make_module(network: fastrt.Network, dtype: Any) -> Any:
    """The network as a module of torch; it takes ``(n, H, W, 3)`` uint8 BGR and gives float32 embeddings."""
    import torch
    from torch.nn import functional as f

    first, last = network.input.name, network.output.name
    steps: list[tuple[str, Callable[..., Any], tuple[str, ...], tuple[str, ...]]] = []

    class Described(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for i, tensor in enumerate(network):
                names = []
                for name, array in tensor.operation.arrays().items():
                    shape = (1, -1, 1, 1) if tensor.operation.kind == "scale_shift" else array.shape
                    value = torch.from_numpy(np.ascontiguousarray(array.astype(np.float32))).reshape(shape)
                    if value.ndim == 4:
                        value = value.contiguous(memory_format=torch.channels_last)
                    names.append(f"a{i}_{name}")
                    self.register_buffer(names[-1], value)
                if tensor.operation.kind != "input":
                    steps.append((tensor.name, _function(tensor.operation), tensor.inputs, tuple(names)))

        def forward(self, images: Any) -> Any:
            values: dict[str, Any] = {first: images.flip(3).permute(0, 3, 1, 2).to(dtype)}
            for name, function, inputs, arrays in steps:
                values[name] = function(*(values[one] for one in inputs), *(getattr(self, one) for one in arrays))
            return f.normalize(values[last].float())

    return Described().eval()


def _function(operation: Any) -> Callable[..., Any]:
    """An operation as a function of its inputs and arrays. It holds numbers alone: what it holds is guarded."""
    import torch
    from torch.nn import functional as f

    match operation.kind:
        case "scale_shift":
            return lambda x, scale, shift: x * scale + shift
        case "convolution":
            stride, padding = operation.stride, operation.padding
            return lambda x, weight, bias=None: f.conv2d(x, weight, bias, stride, padding)
        case "max_pool":
            kernel, stride, padding, ceil = operation.kernel, operation.stride, operation.padding, operation.ceil
            return lambda x: f.max_pool2d(x, kernel, stride, padding, 1, ceil)
        case "instance_norm":
            eps = operation.eps
            return lambda x, weight, bias: f.instance_norm(x, weight=weight, bias=bias, eps=eps)
        case "slice":
            axis, start, length = operation.axis + 1, operation.start, operation.stop - operation.start
            return lambda x: x.narrow(axis, start, length)
        case "concat":
            return lambda *xs: torch.cat(xs, 1)
        case "relu":
            return lambda x: x.relu()
        case "clamp":
            low, high = operation.low, operation.high
            return lambda x: x.float().clamp(low, high)
        case "power":
            exponent = operation.exponent
            return lambda x: x.float().pow(exponent)
        case "add":
            return lambda a, b: a + b
        case "multiply":
            return lambda a, b: a * b
        case "reduce_mean":
            return lambda x: x.mean((2, 3), keepdim=True)
        case "reshape":
            shape = operation.shape
            return lambda x: x.reshape(x.shape[0], *shape)
        case other:
            raise NotImplementedError(other)


def main(models: list[str]) -> None:
    import torch

    torch.backends.cudnn.benchmark = True
    rows: list[dict[str, object]] = []
    for title in models:
        # The same folding that every engine gets, so that only the runtimes are compared.
        module = make_module(fold_scales(describe(title)), torch.float16).half().cuda()
        for batch in BATCHES:
            torch.compiler.reset()
            compiled = torch.compile(module, mode="reduce-overhead", dynamic=False)
            host = torch.randint(0, 256, (batch, *SIZE, 3), dtype=torch.uint8).pin_memory()
            times = []

            def embed(compiled: Any = compiled, host: Any = host) -> None:
                compiled(host.cuda(non_blocking=True)).cpu()

            with torch.inference_mode():
                warm_up(embed)
                for _ in range(RUNS):
                    start = time.perf_counter()
                    embed()
                    times.append(1e3 * (time.perf_counter() - start))
            rows.append({"model": title, "batch": batch, "median_ms": round(statistics.median(times), 3)})
            print(rows[-1], flush=True)
            machine = {**describe_machine(), "gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}
            result = {"command": "python -m benchmarks.torch_compile", "precision": "fp16", "image_size": SIZE}
            RESULT.write_text(json.dumps({**result, "machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["R34", "R50-NL-IBN"])
