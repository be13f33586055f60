"""What an engine file says of itself, in its runtime's own metadata slot."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastrt.arrays import Shape
from fastrt.errors import EngineError

KEY = "fastrt"
"""The name of the slot."""

Io = Literal["u8_nhwc_bgr", "f32_nchw_rgb"]
Resampler = Literal["pil-bicubic", "cv2-cubic", "cv2-linear"]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]


class EngineInfo(BaseModel):
    """An engine's description. What a file of somebody else's making does not say is None.

    Attributes:
        format: version of this description.
        fastrt: the fastrt that built it.
        target: the runtime.
        built_with: the runtime's version.
        precision: what it computes in.
        io: ``u8_nhwc_bgr``, ``(n, H, W, 3)`` uint8 BGR pixels; or ``f32_nchw_rgb``, ``(n, 3, H, W)`` float32 RGB,
            0 to 255.
        image_size: ``(H, W)`` of its input, in pixels.
        embedding_dim: D.
        normalized: whether embeddings leave it with unit length.
        resampler: how images are brought to its size.
        fingerprint: of the network it was built from.
        device: the device that it was built for, if it runs on no other.
        batches: the largest batch of each range that it was tuned for.
        version_compatible: whether later versions of its runtime load it.
        calibration: of an engine in int8, what its ranges come from: ``entropy, 512 images``.
        kept: the convolutions that it does not compute in int8, though they could be.
        min_similarity: what its mean-centred cosine to fp32 was to be at least.
        spec: the model, as `ModelSpec` has it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    fastrt: str | None = None
    target: str
    built_with: str | None = None
    precision: Precision | None = None
    io: Io
    image_size: tuple[int, int]
    embedding_dim: int
    normalized: bool | None = None
    resampler: Resampler = "pil-bicubic"
    fingerprint: str | None = None
    device: str | None = None
    batches: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    version_compatible: bool = False
    calibration: str | None = None
    kept: tuple[str, ...] | None = None
    min_similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    spec: dict[str, Any] | None = None

    def to_text(self) -> str:
        """For the metadata slot."""
        return self.model_dump_json(exclude_none=True)


def read_info(
    text: str | None, target: str, path: object, inputs: list[tuple[str, Shape, str]], outputs: list[Shape]
) -> EngineInfo:
    """What a file says of itself, checked against its tensors; from its tensors alone if it says nothing.

    Args:
        text: the slot's content, or None.
        target: the runtime.
        path: for messages.
        inputs: name, shape (batch axis first, -1 where open) and dtype of each input.
        outputs: the shape of each output.

    Raises:
        EngineError: it takes or gives something that is no re-identification engine's.
    """
    if len(inputs) != 1 or not outputs:
        raise EngineError(f"{path} takes {len(inputs)} inputs; an engine that takes images alone is wanted")
    seen = _from_tensors(target, path, inputs[0], outputs[0])
    if text is None:
        return seen
    try:
        info = EngineInfo.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise EngineError(
            f"{path} describes itself in a way this fastrt cannot read: {where} {fault['msg'].lower()}; build it again"
        ) from None
    for key in ("io", "image_size", "embedding_dim"):
        if getattr(info, key) != getattr(seen, key):
            raise EngineError(
                f"{path} says its {key} is {getattr(info, key)}, but its tensors say {getattr(seen, key)};"
                " it was changed: build it again"
            )
    return info


def _from_tensors(target: str, path: object, image: tuple[str, Shape, str], output: Shape) -> EngineInfo:
    name, shape, dtype = image
    io: Io
    if len(shape) == 4 and shape[3] == 3 and dtype == "uint8":
        io, size = "u8_nhwc_bgr", shape[1:3]
    elif len(shape) == 4 and shape[1] == 3 and dtype == "float32":
        io, size = "f32_nchw_rgb", shape[2:4]
    else:
        raise EngineError(f"{path} takes {name} {shape} {dtype}; (n, H, W, 3) uint8 or (n, 3, H, W) float32 is wanted")
    if len(output) < 2 or min(*size, *output[1:]) < 1 or any(axis != 1 for axis in output[2:]):
        raise EngineError(f"{path} gives {output} for images of {size}; fixed sizes and embeddings (n, D) are wanted")
    return EngineInfo(target=target, io=io, image_size=(size[0], size[1]), embedding_dim=output[1])
