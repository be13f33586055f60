"""The models of FastReID itself, from a folder with its source, for comparisons.

Source: github.com/JDAI-CV/fast-reid at c9bc3ce.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastrt.arrays import Array


def make_fastreid(folder: Path, keys: Sequence[object], arrays: Mapping[str, Array]) -> Any:
    """Make FastReID's model, from images ``(n, H, W, 3)`` uint8 BGR to embeddings of unit length.

    Args:
        folder: FastReID's source.
        keys: ``[key, value, ...]`` of its config.
        arrays: the checkpoint's arrays by name.
    """
    import torch

    sys.path.insert(0, str(folder))
    back = Path.cwd()
    os.chdir(folder)  # it reads the tables of RegNet and EfficientNet relative to its own folder
    try:
        config = importlib.import_module("fastreid.config").get_cfg()
        config.merge_from_list([*keys, "MODEL.DEVICE", "cpu", "MODEL.HEADS.NUM_CLASSES", len(arrays["heads.weight"])])
        model = importlib.import_module("fastreid.modeling.meta_arch").build_model(config)
    finally:
        os.chdir(back)
    stored = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    fits = model.load_state_dict(stored, strict=False)
    if fits.unexpected_keys or any(not name.startswith("heads") for name in fits.missing_keys):
        raise ValueError(f"FastReID's model has other arrays: {fits}")

    class TakesImages(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> Any:
            planes = images.flip(3).permute(0, 3, 1, 2).float()
            return torch.nn.functional.normalize(self.model({"images": planes}).flatten(1))

    return TakesImages().eval()
