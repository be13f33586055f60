"""Layers of transformers on tokens ``(T, C)``, with the names of FastReID's checkpoints."""

from __future__ import annotations

import numpy as np

from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.ir.ops import Concat, LayerNorm, Linear, MatMul, Reshape, ScaleShift, Slice, Softmax, Transpose

EPS = 1e-6
"""Epsilon of every layer norm of FastReID's ViT; PyTorch's default is 1e-5."""


def linear(b: Builder, x: Tensor, name: str, outputs: int) -> Tensor:
    """A linear layer on each token: ``name.weight`` and ``name.bias``."""
    weight = b.take(f"{name}.weight", (outputs, x.shape[1]))
    return b.add(name, Linear(weight, b.take(f"{name}.bias", (outputs,))), x)


def layer_norm(b: Builder, x: Tensor, name: str) -> Tensor:
    """A layer norm of each token: ``name.weight`` and ``name.bias``."""
    return b.add(name, LayerNorm(b.take(f"{name}.weight", x.shape[1:]), b.take(f"{name}.bias", x.shape[1:]), EPS), x)


def make_tokens(b: Builder, x: Tensor, name: str) -> Tensor:
    """Make a token ``(C,)`` of each pixel of a feature map ``(C, h, w)``, row by row: ``(h * w, C)``."""
    channels, height, width = x.shape
    flat = b.add(f"{name}.flat", Reshape((channels, height * width)), x)
    return b.add(f"{name}.tokens", Transpose((1, 0)), flat)


def embed_positions(b: Builder, x: Tensor, name: str, first: np.ndarray, positions: np.ndarray) -> Tensor:
    """Put a learned token before all tokens, and add the position embedding: ``(T, C)`` to ``(1 + T, C)``.

    Args:
        b: the builder.
        x: the tokens.
        name: the result's name.
        first: the learned token ``(1, C)``.
        positions: the embedding ``(1 + T, C)``.
    """
    # No operation makes a constant. So any token stands in for the learned one: its scale is 0, and its shift the
    # learned token. The embedding then costs one multiply-add, with the shift that the positions need anyway.
    stand_in = b.add(f"{name}.first", Slice(0, 0, 1), x)
    tokens = b.add(f"{name}.tokens", Concat(), stand_in, x)
    scale, shift = np.ones(positions.shape), positions.astype(np.float64)
    scale[0], shift[0] = 0, shift[0] + first[0]
    return b.add(name, ScaleShift(scale, shift), tokens)


def attend(
    b: Builder, x: Tensor, name: str, heads: int, scale: float, bias: bool, queries: Tensor | None = None
) -> Tensor:
    """Multi-head self-attention: ``softmax(scale * q k^T) v`` of each head, then a linear layer.

    The rows of ``name.qkv.weight`` are those of q, k and v; in each, one head follows the other.

    Args:
        b: the builder.
        x: the tokens ``(T, C)``.
        name: the layer's name.
        heads: number of heads.
        scale: of the products; it is folded into the weights of q.
        bias: True for a ``name.qkv.bias``.
        queries: the tokens ``(Q, C)`` to compute, if not all.
    """
    width = x.shape[1]
    weights = b.take(f"{name}.qkv.weight", (3 * width, width)).reshape(3, width, width)
    biases = b.take(f"{name}.qkv.bias", (3 * width,)).reshape(3, width) if bias else (None,) * 3
    parts = []
    for i, (part, source) in enumerate((("q", x if queries is None else queries), ("k", x), ("v", x))):
        weight, shift = weights[i], biases[i]
        if part == "q":
            weight = (weight * np.float64(scale)).astype(np.float32)
            shift = None if shift is None else (shift * np.float64(scale)).astype(np.float32)
        y = b.add(f"{name}.{part}", Linear(weight, shift), source)
        y = b.add(f"{name}.{part}.heads", Reshape((source.shape[0], heads, width // heads)), y)
        parts.append(b.add(f"{name}.{part}.by_head", Transpose((1, 0, 2)), y))
    q, k, v = parts
    products = b.add(f"{name}.products", MatMul(transpose_b=True), q, k)
    y = b.add(f"{name}.means", MatMul(), b.add(f"{name}.softmax", Softmax(), products), v)
    y = b.add(f"{name}.by_token", Transpose((1, 0, 2)), y)
    return linear(b, b.add(f"{name}.joined", Reshape((q.shape[1], width)), y), f"{name}.proj", width)
