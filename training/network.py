"""Any model as a PyTorch module, from its description: the same operations, with batch norms that learn.

The description is the one that the targets lower, before its passes. So every family trains without a second
definition, and its checkpoint has FastReID's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as f

from fastrt import ModelSpec, build_network
from fastrt.arrays import Array
from fastrt.ir import network as ir
from fastrt.ir import ops
from fastrt.testing.untrained import draw_arrays

MOMENTUM = 0.1
NARROW = 0.02
"""Standard deviation of the initial weights of linear layers, as in the ViT's own code."""


class Module(torch.nn.Module):
    """A model; input ``(n, 3, H, W)`` RGB from 0 to 255.

    Attributes:
        arrays: the checkpoint's initial arrays by name.
        network: the description.
        sources: by tensor, the name of its arrays in the checkpoint; OSNet's streams share those of their gate.
    """

    def __init__(self, spec: ModelSpec, classes: int) -> None:
        super().__init__()
        self.arrays = draw_arrays(spec)
        self.network = build_network(spec, self.arrays)
        sources = {_address(array): name.rpartition(".")[0] for name, array in self.arrays.items()}
        self.sources = {
            tensor.name: sources.get(_address(array), tensor.name)
            for tensor in self.network
            for key, array in tensor.operation.arrays().items()
            if key == "weight"
        }
        rng = np.random.default_rng(0)
        for tensor in self.network:
            if isinstance(tensor.operation, ops.Linear):
                drawn = self._rows(tensor.name, self.arrays.get)
                ratio = np.median(tensor.operation.weight / drawn, 1)
                self.register_buffer(_key(f"{tensor.name}.ratio"), torch.tensor(ratio), persistent=False)
                drawn[:] = rng.normal(0, NARROW, drawn.shape)
        for name, array in self.arrays.items():
            value = torch.from_numpy(np.array(array, np.float32))
            if name.endswith((".running_mean", ".running_var")):
                self.register_buffer(_key(name), value)
            else:
                self.register_parameter(_key(name), torch.nn.Parameter(value))
        width = self.network.output.shape[0]
        self.classifier = torch.nn.Parameter(torch.randn(classes, width) * 0.01)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pooled features, embeddings and class scores."""
        values: dict[str, Tensor] = {}
        for tensor in self.network:
            inputs = [values[name] for name in tensor.inputs]
            if isinstance(tensor.operation, ops.Input):
                values[tensor.name] = pixels
            elif tensor.exact:
                with torch.autocast(pixels.device.type, enabled=False):
                    values[tensor.name] = self._compute(tensor, [value.float() for value in inputs])
            else:
                values[tensor.name] = self._compute(tensor, inputs)
        embedding = values[self.network.output.name]
        pooled = values.get("heads.pool_layer", embedding).flatten(1)
        return pooled, embedding, f.linear(embedding, self.classifier)

    def checkpoint(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the checkpoint's arrays by name."""
        state = self.state_dict()
        for name in self.arrays:
            yield name, state[_key(name)]

    def _rows(self, name: str, get: Callable[[str], Any], leaf: str = "weight") -> Any:
        """Return the array of a linear layer; queries, keys and values have a third of the rows of ``qkv`` each."""
        block, _, part = name.rpartition(".")
        if part not in ("q", "k", "v"):
            return get(f"{name}.{leaf}")
        rows = get(f"{block}.qkv.{leaf}")
        third = 0 if rows is None else len(rows) // 3
        start = "qkv".index(part) * third
        return None if rows is None else rows[start : start + third]

    def _get(self, name: str) -> Tensor | None:
        return getattr(self, _key(name), None)

    def _compute(self, tensor: ir.Tensor, inputs: list[Tensor]) -> Tensor:
        operation, name = tensor.operation, tensor.name
        x = inputs[0]
        source = self.sources.get(name, name)
        weight, bias = self._get(f"{source}.weight"), self._get(f"{source}.bias")
        if isinstance(operation, ops.Convolution):
            assert weight is not None
            if len(weight) == 2 * len(operation.weight):  # ResNeSt's softmax of two, described as their difference
                assert bias is not None
                weight, bias = (value.chunk(2)[0] - value.chunk(2)[1] for value in (weight, bias))
            return f.conv2d(
                x,
                weight.reshape(operation.weight.shape),
                bias,
                operation.stride,
                operation.padding,
                operation.dilation,
                operation.groups,
            )
        if isinstance(operation, ops.Linear):
            ratio = self._get(f"{name}.ratio")  # the description scales some rows, such as those of the queries
            assert ratio is not None
            rows, shift = (self._rows(name, self._get, leaf) for leaf in ("weight", "bias"))
            return f.linear(x, rows * ratio[:, None], None if shift is None else shift * ratio)
        if isinstance(operation, ops.ScaleShift):
            return self._scale_shift(operation, name, x)
        if isinstance(operation, ops.InstanceNorm):
            return f.instance_norm(x.float(), weight=weight, bias=bias, eps=operation.eps)
        if isinstance(operation, ops.LayerNorm):
            return f.layer_norm(x.float(), operation.weight.shape, weight, bias, operation.eps)
        if isinstance(operation, ops.Power):
            exponent = self._get(f"{name.removesuffix('.power')}.p")
            if exponent is None:
                return x.float().pow(operation.exponent)
            return x.float().pow(exponent if name.endswith(".power") else 1 / exponent)
        return _compute(operation, inputs)

    def _scale_shift(self, operation: ops.ScaleShift, name: str, x: Tensor) -> Tensor:
        mean = self._get(f"{name}.running_mean")
        if mean is not None:
            arrays = (mean, self._get(f"{name}.running_var"), self._get(f"{name}.weight"), self._get(f"{name}.bias"))
            return f.batch_norm(x, *arrays, training=self.training, momentum=MOMENTUM)
        scale, shift = (torch.tensor(array, dtype=torch.float32) for array in (operation.scale, operation.shift))
        ones = (1,) * (x.ndim - 1 - scale.ndim)
        scale, shift = (value.to(x.device).reshape(1, *value.shape, *ones) for value in (scale, shift))
        position = self._get(f"{name}") if scale.ndim == x.ndim == 3 else None
        if position is not None:
            token = self._get(name.replace("pos_embed", "cls_token"))
            assert token is not None
            shift = position + f.pad(token, (0, 0, 0, position.shape[1] - 1))
        return x * scale + shift


def _address(array: Array) -> int:
    """Return where an array's memory begins; a layer's array is a view of the checkpoint's."""
    return int(array.__array_interface__["data"][0])


def _key(name: str) -> str:
    """Return a name that PyTorch accepts for a parameter."""
    return name.replace(".", "/")


def _compute(operation: ops.Operation, inputs: list[Tensor]) -> Tensor:
    """Compute an operation without parameters."""
    x = inputs[0]
    match operation:
        case ops.Reshape(shape=shape):
            return x.reshape(len(x), *shape)
        case ops.Transpose(axes=axes):
            return x.permute(0, *(axis + 1 for axis in axes))
        case ops.Slice(axis=axis, start=start, stop=stop):
            return x.narrow(axis + 1, start, stop - start)
        case ops.MaxPool():
            return f.max_pool2d(x, operation.kernel, operation.stride, operation.padding, ceil_mode=operation.ceil)
        case ops.AveragePool():
            sizes = operation.kernel, operation.stride, operation.padding, operation.ceil, operation.counted
            return f.avg_pool2d(x, *sizes)
        case ops.Clamp(low=low, high=high):
            return x.clamp(low, high)
        case ops.MatMul(transpose_a=first, transpose_b=second):
            a, b = inputs
            return (a.mT if first else a) @ (b.mT if second else b)
    return {
        "concat": lambda: torch.cat(inputs, 1),
        "relu": lambda: f.relu(x),
        "sigmoid": lambda: torch.sigmoid(x),
        "gelu": lambda: f.gelu(x),
        "softmax": lambda: x.softmax(-1),
        "add": lambda: x + inputs[1],
        "multiply": lambda: x * inputs[1],
        "reduce_mean": lambda: x.mean((2, 3), keepdim=True),
        "reduce_max": lambda: x.amax((2, 3), keepdim=True),
    }[operation.kind]()


def to_array(tensor: Tensor) -> Array:
    """Convert matrices and filters to FP16 and vectors, such as norms, to FP32."""
    return np.asarray(tensor.to(torch.float16 if tensor.ndim > 1 else torch.float32).cpu().numpy())
