"""ModelSpec: the description of a model. It imports the backbones; no backbone imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError
from pydantic_core import PydanticCustomError

from fastrt.errors import SpecError
from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.table import BACKBONES, DEFAULT, find_family, list_families
from fastrt.models.heads import HEADS, POOLS
from fastrt.models.meta_architectures.table import META_ARCHITECTURES
from fastrt.models.named import list_names, name_in

Head = Annotated[str, name_in(HEADS)]
Pool = Annotated[str, name_in(POOLS)]
MetaArchitecture = Annotated[str, name_in(META_ARCHITECTURES)]
Pixels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


def _numbers(count: int, expected: str) -> BeforeValidator:
    """Return a pydantic validator that refuses a value other than a list of ``count`` items without booleans."""

    def check(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != count or any(isinstance(item, bool) for item in value):
            raise PydanticCustomError("numbers", "Input should be {expected}", {"expected": expected})
        return value

    return BeforeValidator(check)


Size = Annotated[tuple[Pixels, Pixels], _numbers(2, "two numbers: [height, width]")]
_THREE = _numbers(3, "three numbers: [red, green, blue]")
Mean = Annotated[tuple[Finite, Finite, Finite], _THREE]
Std = Annotated[tuple[Positive, Positive, Positive], _THREE]


class ModelSpec(BaseModel):
    """A re-identification model, in FastReID's terms.

    ``auto`` and None: inferred from the checkpoint's parameter names when the network is built; defaults are logged.

    A backbone's settings may also be top-level: ``ModelSpec(depth="34x")`` is ``ModelSpec(backbone={"depth": "34x"})``.
    Older engines and ``.safetensors``, written before backbones were nested, have this form.

    Attributes:
        meta_architecture: the combination of backbone and heads.
        backbone: the backbone's settings: an instance, a mapping or a name; its class is the family's in
            `fastrt.models.backbones.table`.
        head: the head, or all heads of an MGN: EmbeddingHead; BNneckHead, LinearHead, ReductionHead or MGNHead, from
            before 2020-09-10; TorchreidHead, the default with torchreid's models.
        pool_layer: the pooling of the feature map to a vector.
        embedding_dim: width of the head's reducing convolution, 0 for none; or of the linear layer of a TorchreidHead.
        with_bnneck: True for a batch norm at the end of the head; None: inferred from the checkpoint.
        image_size: ``(H, W)`` of the network's input, in pixels.
        pixel_mean: subtracted from the pixels, 0 to 255, R, G, B.
        pixel_std: divisor of the pixels after that, R, G, B.

    Source: fastreid/config/defaults.py.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    meta_architecture: MetaArchitecture = "Baseline"
    backbone: SerializeAsAny[Backbone]
    head: Head = "EmbeddingHead"
    pool_layer: Pool = "GlobalAvgPool"
    embedding_dim: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    with_bnneck: bool | None = None
    image_size: Size = (256, 128)
    pixel_mean: Mean = (123.675, 116.28, 103.53)
    pixel_std: Std = (58.395, 57.12, 57.375)

    def __init__(self, **values: Any) -> None:
        """Validate the values.

        Raises:
            SpecError: an unknown key or a value out of range; the message names it and the accepted values.
        """
        own = {key: value for key, value in values.items() if key in type(self).model_fields}
        settings = {key: value for key, value in values.items() if key not in own}
        errors: list[str] = []
        try:
            own["backbone"] = choose_backbone(own.get("backbone", DEFAULT), settings)
        except (ValidationError, SpecError) as error:
            errors.append(_describe(error))
            own["backbone"] = BACKBONES[DEFAULT](name=DEFAULT)  # to find the errors of all other fields too
        try:
            super().__init__(**{**own["backbone"].DEFAULTS, **own})
        except ValidationError as error:
            errors.append(_describe(error))
        if not errors and (refusal := META_ARCHITECTURES[self.meta_architecture].refuse(self.backbone)):
            errors.append(refusal)
        if errors:
            raise SpecError(f"spec: {'; '.join(errors)}. Correct the config.") from None

    @property
    def title(self) -> str:
        """A name for messages: ``resnet 50 distill ibn nl``, ``mgn resnet 50 ibn``."""
        meta = "" if self.meta_architecture == "Baseline" else f"{self.meta_architecture.lower()} "
        return f"{meta}{self.backbone.title}"

    def replace(self, **values: Any) -> ModelSpec:
        """Return the spec with some values changed, validated again; a backbone's name alone keeps its settings."""
        if isinstance(name := values.get("backbone"), str):
            values["backbone"] = {**self.backbone.model_dump(), "name": name}
        return ModelSpec(**{**dict(self), **values})


def choose_backbone(backbone: object, settings: Mapping[str, Any]) -> Backbone:
    """Make the backbone of a spec from an instance, a mapping or a name, and the spec's top-level settings.

    Raises:
        SpecError: the name is not in the table.
        ValidationError: the family refuses a setting.
    """
    if isinstance(backbone, Backbone):
        if not settings:
            return backbone
        backbone = backbone.model_dump()
    given = backbone if isinstance(backbone, Mapping) else {"name": backbone}
    values = {"name": DEFAULT, **given, **settings}
    return find_family(values["name"])(**values)


def _describe(error: ValidationError | SpecError) -> str:
    if isinstance(error, SpecError):
        return str(error).removeprefix("spec: ")
    found = []
    for detail in error.errors(include_url=False):
        where = ".".join(map(str, detail["loc"]))
        if detail["type"] == "extra_forbidden":
            family = next(row for row in list_families() if row.__name__ == error.title)
            known = [*ModelSpec.model_fields, *(key for key in family.model_fields if key != "name")]
            found.append(f"{where} is an unknown key, expected {', '.join(known)}")
        elif detail["type"] == "missing":
            rows = [row for row in list_families() if row.__name__ == error.title and where in row.model_fields]
            values = [get_args(row.model_fields[where].annotation) for row in rows]
            found.append(f"{where} is missing{f', expected {list_names(values[0])}' if values else ''}")
        else:
            expected = (
                detail["msg"].replace("Input should be", "expected").replace("a valid tuple", "a list of numbers")
            )
            found.append(f"{where} is {detail['input']!r}, {expected}")
    return "; ".join(found)
