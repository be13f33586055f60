"""The models of FastReID and torchreid themselves, from folders with their source, for comparisons.

Source: github.com/JDAI-CV/fast-reid at c9bc3ce, github.com/KaiyangZhou/deep-person-reid.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array


def make_fastreid(folder: Path, keys: Sequence[object], arrays: Mapping[str, Array]) -> Any:
    """Make FastReID's model with the weights of a checkpoint; ``keys``: ``[key, value, ...]`` of its config."""
    import torch

    sys.path.insert(0, str(folder))
    back = Path.cwd()
    os.chdir(folder)  # it reads the tables of RegNet and EfficientNet relative to its own folder
    try:
        from fastreid.config import get_cfg
        from fastreid.modeling.meta_arch import build_model

        config = get_cfg()
        config.merge_from_list([*keys, "MODEL.DEVICE", "cpu", "MODEL.HEADS.NUM_CLASSES", len(arrays["heads.weight"])])
        model = build_model(config)
    finally:
        os.chdir(back)
    stored = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    fits = model.load_state_dict(stored, strict=False)
    if fits.unexpected_keys or any(not name.startswith("heads") for name in fits.missing_keys):
        raise ValueError(f"FastReID's model has other arrays: {fits}")
    return _take_images(model, lambda model, planes: model({"images": planes}))


def make_torchreid(folder: Path, name: str, arrays: Mapping[str, Array]) -> Any:
    """Make torchreid's OSNet ``name`` with the weights of a checkpoint. Its package is not installed: one file is read."""
    import torch

    found = importlib.util.spec_from_file_location("torchreid_osnet", folder / "torchreid/models/osnet.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    model = getattr(module, name)(num_classes=len(arrays["classifier.weight"]), pretrained=False)
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return _take_images(model, lambda model, planes: model((planes / 255 - mean) / std))


def _take_images(model: Any, call: Any) -> Any:
    """Return a module from images ``(n, H, W, 3)`` uint8 BGR to embeddings of unit length."""
    import torch

    class TakesImages(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> Any:
            planes = images.flip(3).permute(0, 3, 1, 2).float()
            return torch.nn.functional.normalize(call(self.model, planes).flatten(1))

    return TakesImages().eval()
