"""The description of an engine, stored in the metadata slot of its file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastrt.arrays import Shape
from fastrt.errors import EngineError

KEY = "fastrt"
"""Name of the metadata slot."""

Io = Literal["u8_nhwc_bgr", "f32_nchw_rgb"]
Resampler = Literal["pil-bicubic", "pil-bilinear", "cv2-cubic", "cv2-linear"]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]


class EngineInfo(BaseModel):
    """An engine's description. Fields that a file from another tool does not state are None.

    Attributes:
        format: version of this description.
        fastrt: the fastrt version that built the engine.
        target: the runtime.
        built_with: the runtime's version.
        precision: the engine's precision.
        io: ``u8_nhwc_bgr``, ``(n, H, W, 3)`` uint8 BGR pixels; or ``f32_nchw_rgb``, ``(n, 3, H, W)`` float32 RGB,
            0 to 255.
        image_size: ``(H, W)`` of the input, in pixels.
        embedding_dim: D, the length of an embedding.
        normalized: whether embeddings have unit length.
        resampler: the filter that images are resized with.
        fingerprint: fingerprint of the network that the engine was built from.
        device: the device that the engine was built for, if it runs on no other.
        batches: the largest batch of each range that the engine was tuned for.
        version_compatible: whether later versions of the runtime can load the engine.
        calibration: source of an int8 engine's ranges: ``entropy, 512 images``.
        calibration_hash: SHA-256 of these ranges.
        kept: the layers excluded from int8 that int8 could compute.
        min_similarity: the required minimum of the mean-centred cosine similarity to fp32.
        spec: the model; see `ModelSpec`.
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
    calibration_hash: str | None = None
    kept: tuple[str, ...] | None = None
    min_similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    spec: dict[str, Any] | None = None

    @property
    def input_shape(self) -> Shape:
        """Shape of an image in the engine's input profile."""
        return (*self.image_size, 3) if self.io == "u8_nhwc_bgr" else (3, *self.image_size)

    @property
    def input_dtype(self) -> str:
        """Dtype of an image in the engine's input profile."""
        return "uint8" if self.io == "u8_nhwc_bgr" else "float32"

    def to_text(self) -> str:
        """Return the description as JSON for the metadata slot."""
        return self.model_dump_json(exclude_none=True)


def read_info(
    text: str | None, target: str, path: object, inputs: list[tuple[str, Shape, str]], outputs: list[Shape]
) -> EngineInfo:
    """Read a file's description and check it against the file's tensors; infer it from them if there is none.

    Args:
        text: the slot's content, or None.
        target: the runtime.
        path: the file, for messages.
        inputs: name, shape (batch axis first, -1 where dynamic) and dtype of each input.
        outputs: the shape of each output.

    Raises:
        EngineError: the description is not valid, or the tensors are not those of a re-identification engine.
    """
    if len(inputs) != 1 or not outputs:
        raise EngineError(f"{path}: {len(inputs)} inputs and {len(outputs)} outputs; expected images and an embedding")
    seen = _from_tensors(target, path, inputs[0], outputs[0])
    if text is None:
        return seen
    info = parse_info(text, path)
    for key in ("io", "image_size", "embedding_dim"):
        if getattr(info, key) != getattr(seen, key):
            raise EngineError(
                f"{path}: its description has the {key} {getattr(info, key)}; expected {getattr(seen, key)}, as in its"
                " tensors. The file was changed: build it again."
            )
    return info


def parse_info(text: str, path: object) -> EngineInfo:
    """Parse the content of a metadata slot; ``path`` is the file, for messages.

    Raises:
        EngineError: the description is not valid.
    """
    try:
        return EngineInfo.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise EngineError(
            f"{path}: this fastrt cannot read its description ({where} {first['msg'].lower()}). Build it again."
        ) from None


def _from_tensors(target: str, path: object, image: tuple[str, Shape, str], output: Shape) -> EngineInfo:
    name, shape, dtype = image
    io: Io
    if len(shape) == 4 and shape[3] == 3 and dtype == "uint8":
        io, size = "u8_nhwc_bgr", shape[1:3]
    elif len(shape) == 4 and shape[1] == 3 and dtype == "float32":
        io, size = "f32_nchw_rgb", shape[2:4]
    else:
        raise EngineError(
            f"{path}: input {name} of shape {shape} {dtype}; expected (n, H, W, 3) uint8 or (n, 3, H, W) float32"
        )
    if len(output) < 2 or min(*size, *output[1:]) < 1 or any(axis != 1 for axis in output[2:]):
        raise EngineError(
            f"{path}: images of size {size} and an output of shape {output}; expected fixed sizes and embeddings (n, D)"
        )
    return EngineInfo(target=target, io=io, image_size=(size[0], size[1]), embedding_dim=output[1])
