"""A network as a PyTorch module, operation by operation, for the benchmarks of PyTorch and of its exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastrt


def make_module(network: fastrt.Network, dtype: Any, *, written_out: bool = False, planes: bool = False) -> Any:
    """Make a torch module of the network, from ``(n, H, W, 3)`` uint8 BGR images to float32 embeddings.

    Args:
        network: the network, with its scales folded if wanted.
        dtype: the torch dtype of the computation.
        written_out: write instance norms as means and products, for runtimes without that operation.
        planes: take ``(n, 3, H, W)`` float32 RGB from 0 to 255 instead.
    """
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
                    steps.append((tensor.name, _function(tensor.operation, written_out), tensor.inputs, tuple(names)))

        def forward(self, images: Any) -> Any:
            values: dict[str, Any] = {first: images if planes else images.flip(3).permute(0, 3, 1, 2).to(dtype)}
            for name, function, inputs, arrays in steps:
                values[name] = function(*(values[one] for one in inputs), *(getattr(self, one) for one in arrays))
            return f.normalize(values[last].float())

    return Described().eval()


def _function(operation: Any, written_out: bool) -> Callable[..., Any]:
    """Make a function of an operation's inputs and arrays. It holds only numbers, because torch.compile guards them."""
    import torch
    from torch.nn import functional as f

    match operation.kind:
        case "scale_shift":
            return lambda x, scale, shift: x * scale + shift
        case "convolution":
            geometry = operation.stride, operation.padding, operation.dilation, operation.groups
            return lambda x, weight, bias=None: f.conv2d(x, weight, bias, *geometry)
        case "max_pool":
            kernel, stride, padding, ceil = operation.kernel, operation.stride, operation.padding, operation.ceil
            return lambda x: f.max_pool2d(x, kernel, stride, padding, 1, ceil)
        case "instance_norm" if written_out:
            epsilon = operation.eps
            return lambda x, weight, bias: _normalize(x, weight, bias, epsilon)
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


def _normalize(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """An instance norm as elementary operations."""
    x = x - x.mean((2, 3), keepdim=True)
    deviation = ((x * x).mean((2, 3), keepdim=True) + eps).sqrt()
    return x / deviation * weight.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)
