"""torchreid's OSNet, OSNet-IBN and OSNet-AIN, with torchreid's names and head.

Source: torchreid/models/osnet.py and osnet_ain.py; torchreid/utils/feature_extractor.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from fastrt.arrays import Array
from fastrt.ir.builder import Builder
from fastrt.ir.network import Tensor
from fastrt.models.backbones.base import Backbone
from fastrt.models.backbones.osnet import CHANNELS, IBN, PLAIN, Variant, Width, build_osnet, find_width
from fastrt.models.layers import instance_norm
from fastrt.models.named import name_in

if TYPE_CHECKING:
    from typing_extensions import Self

AIN = Variant(instance_norm, (("branch", "branch"), ("", "branch"), ("branch", "")), nested=True)

MODELS: Mapping[str, tuple[Width, Variant]] = {
    **{f"osnet_{width}": (width, PLAIN) for width in CHANNELS},
    "osnet_ibn_x1_0": ("x1_0", IBN),
    **{f"osnet_ain_{width}": (width, AIN) for width in CHANNELS},
}
"""torchreid's models, by the name that its ``build_model`` takes."""


class TorchreidOSNet(Backbone):
    """An OSNet of torchreid: the file's names decide its width and variant.

    Attributes:
        name: torchreid's name of the model, ``osnet_x1_0``.
    """

    FAMILY: ClassVar[str] = "torchreid's OSNet"
    KEYS: ClassVar[Mapping[str, str]] = {}
    INFERRED: ClassVar[tuple[str, ...]] = ("NAME",)
    DEFAULTS: ClassVar[Mapping[str, object]] = {"head": "TorchreidHead", "embedding_dim": 512, "with_bnneck": False}
    STANDARD_INPUT: ClassVar[str | None] = "torchreid"
    RESAMPLER: ClassVar[Literal["pil-bicubic", "pil-bilinear"]] = "pil-bilinear"

    name: Annotated[str, name_in(MODELS)]

    @property
    def title(self) -> str:
        """A name for messages: ``torchreid osnet_x1_0``."""
        return f"torchreid {self.name}"

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return CHANNELS[MODELS[self.name][0]][-1]

    @classmethod
    def recognise(cls, arrays: Mapping[str, Array]) -> Self | None:
        """Infer the model from names without a prefix, and sizes."""
        if "conv2.0.conv2.0.layers.0.conv1.weight" in arrays:
            variant = AIN
        elif "conv2.0.conv2a.conv1.weight" in arrays:
            variant = PLAIN if "conv1.bn.running_mean" in arrays else IBN
        else:
            return None
        found = (find_width(arrays, ""), variant)
        return next((cls(name=name) for name, model in MODELS.items() if model == found), None)

    def build(self, b: Builder, x: Tensor) -> Tensor:
        """Build the feature map ``(C, H / 16, W / 16)`` of pixels ``(3, H, W)``."""
        return build_osnet(b, x, *MODELS[self.name], prefix="")
