"""ModelSpec: the description of a model. It imports the backbones; no backbone imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from fastrt.errors import SpecError
from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.table import BACKBONES, DEFAULT, list_families
from fastrt.models.heads import HEADS, POOLS
from fastrt.models.meta_architectures import META_ARCHITECTURES
from fastrt.models.named import list_names, name_in

Head = Annotated[str, name_in(HEADS)]
Pool = Annotated[str, name_in(POOLS)]
MetaArchitecture = Annotated[str, name_in(META_ARCHITECTURES)]
Pixels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ModelSpec(BaseModel):
    """A re-identification model, in FastReID's terms.

    ``auto`` and None: inferred from the checkpoint's parameter names when the network is built; defaults are logged.

    A backbone's settings may also be top-level: ``ModelSpec(depth="34x")`` is ``ModelSpec(backbone={"depth": "34x"})``.
    Older engines and ``.safetensors``, written before backbones were nested, have this form.

    Attributes:
        meta_architecture: the combination of backbone and head.
        backbone: the backbone's settings, of the class that `fastrt.models.backbones.table` has for its name. Accepts a
            mapping, a name, or an instance.
        head: the head; the last three names are from before 2020-09-10.
        pool_layer: the pooling of the feature map to a vector.
        embedding_dim: width of the head's reducing convolution; 0 for none.
        with_bnneck: a batch norm at the end of the head; None: inferred from the checkpoint.
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
    image_size: tuple[Pixels, Pixels] = (256, 128)
    pixel_mean: tuple[Finite, Finite, Finite] = (123.675, 116.28, 103.53)
    pixel_std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)

    def __init__(self, **values: Any) -> None:
        """Validate the values.

        Raises:
            SpecError: an unknown key or a value out of range; the message names it and the accepted values.
        """
        own = {key: value for key, value in values.items() if key in type(self).model_fields}
        beside = {key: value for key, value in values.items() if key not in own}
        errors: list[str] = []
        try:
            own["backbone"] = choose_backbone(own.get("backbone", DEFAULT), beside)
        except ValidationError as error:
            errors.append(_sentence(error))
        except SpecError as error:
            errors.append(str(error))
        if errors:  # use another backbone, to find the errors in all other fields too
            own["backbone"] = BACKBONES[DEFAULT](name=DEFAULT)
        try:
            super().__init__(**own)
        except ValidationError as error:
            errors.append(_sentence(error))
        if errors:
            raise SpecError(f"spec: {'; '.join(errors)}") from None

    @property
    def title(self) -> str:
        """A name for messages: ``resnet 50 distill ibn nl``."""
        return self.backbone.title

    def replace(self, **values: Any) -> ModelSpec:
        """Return the spec with some values changed, validated again; a backbone's name alone keeps its settings."""
        if isinstance(name := values.get("backbone"), str):
            values["backbone"] = {**self.backbone.model_dump(), "name": name}
        return ModelSpec(**{**dict(self), **values})


def choose_backbone(backbone: object, beside: Mapping[str, Any]) -> Backbone:
    """Choose the backbone of a spec: an instance, a mapping or a name, with the top-level settings.

    Raises:
        SpecError: the name is not in the table.
        ValidationError: the family refuses a setting.
    """
    if isinstance(backbone, Backbone):
        if not beside:
            return backbone
        backbone = backbone.model_dump()
    settings = {**backbone, **beside} if isinstance(backbone, Mapping) else {"name": backbone, **beside}
    name = settings.setdefault("name", DEFAULT)
    if not isinstance(name, str) or name not in BACKBONES:
        raise SpecError(f"backbone is {name!r}, but must be {list_names(BACKBONES)}")
    return BACKBONES[name](**settings)


def _sentence(error: ValidationError) -> str:
    found = []
    for fault in error.errors(include_url=False):
        where = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            known = ", ".join([*ModelSpec.model_fields, *_settings(error.title)])
            found.append(f"{where} is not a key of a spec; known are {known}")
        else:
            message = fault["msg"].removeprefix("Input ").replace("should be", "must be")
            found.append(f"{where} is {fault['input']!r}, but {message}")
    return "; ".join(found)


def _settings(family: str) -> list[str]:
    """The fields of the family with this class name, except the name."""
    return [key for row in list_families() if row.__name__ == family for key in row.model_fields if key != "name"]
