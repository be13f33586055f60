"""The engine's interface: the input profile, and the length of its embeddings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastrt.errors import NetworkError
from fastrt.ir.network import OUTPUT, Network, Tensor, make_tensor
from fastrt.ir.ops import Cast, Convolution, Input, L2Normalize, QuantizeDequantize, ScaleShift, Transpose


def take_bytes(network: Network) -> Network:
    """Add the input stage: ``(H, W, 3)`` uint8 BGR pixels, as from OpenCV, instead of ``(3, H, W)`` float32 RGB.

    The channel order costs nothing: the standardisation is reversed, and so are the input channels of the convolutions
    that read it. Dilation is kept.

    Raises:
        NetworkError: the network does not standardise the pixels first, or an operation other than a convolution
            without groups reads them. Groups read single colours, so reversed colours would reverse the outputs.
    """
    pixels, *others = network.consumers()[network.input.name]
    if others or not isinstance(pixels.operation, ScaleShift):
        raise NetworkError(f"{network.input.name}: read by {pixels}; expected its standardisation only")
    channels, height, width = network.input.shape
    image = make_tensor(network.input.name, Input((height, width, channels), "uint8"), [])
    values = make_tensor(f"{image.name}.float", Cast("float32"), [image])
    planes = make_tensor(f"{image.name}.planes", Transpose((2, 0, 1)), [values])
    scale = ScaleShift(pixels.operation.scale[::-1].copy(), pixels.operation.shift[::-1].copy())
    standardised = make_tensor(f"{pixels.name}_bgr", scale, [planes])
    result = [image, values, planes, standardised]
    renamed = {pixels.name: standardised.name}
    for tensor in network:
        if tensor.name in (network.input.name, pixels.name):
            continue
        if not renamed.keys() & set(tensor.inputs):
            result.append(tensor)
        elif isinstance(tensor.operation, QuantizeDequantize):
            renamed[tensor.name] = f"{tensor.name}_bgr"
            result.append(replace(tensor, name=f"{tensor.name}_bgr", inputs=(standardised.name,)))
        else:
            result.append(_reversed_convolution(tensor, renamed[tensor.inputs[0]]))
    return replace(network, tensors=tuple(result))


def normalize_embedding(network: Network) -> Network:
    """Scale the embedding to unit length; the original embedding is renamed to ``embedding.raw``."""
    *tensors, raw = network.tensors
    raw = replace(raw, name=f"{OUTPUT}.raw")
    return replace(network, tensors=(*tensors, raw, make_tensor(OUTPUT, L2Normalize(), [raw])))


def _reversed_convolution(tensor: Tensor, source: str) -> Tensor:
    operation = tensor.operation
    if not isinstance(operation, Convolution):
        raise NetworkError(f"{tensor.name}: pixels read by {tensor}; expected convolutions only")
    if operation.groups != 1:
        raise NetworkError(
            f"{tensor.name}: a convolution of pixels in {operation.groups} groups; expected one without groups."
            " Build with f32_nchw_rgb."
        )
    weight = np.ascontiguousarray(operation.weight[:, ::-1])
    return replace(tensor, operation=replace(operation, weight=weight), inputs=(source,))
