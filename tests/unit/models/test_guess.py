from __future__ import annotations

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from shapes import make_shapes

SMALL = {"image_size": (32, 32)}
SPECS = [
    fastrt.ModelSpec(depth="18x", **SMALL),
    fastrt.ModelSpec(depth="34x", with_ibn=True, with_se=True, **SMALL),
    fastrt.ModelSpec(depth="50x", with_nl=True, pool_layer="GeneralizedMeanPooling", embedding_dim=256, **SMALL),
    fastrt.ModelSpec(depth="50x", pool_layer="GeneralizedMeanPoolingP", with_bnneck=False, **SMALL),
    fastrt.ModelSpec(depth="101x", with_ibn=True, embedding_dim=64, with_bnneck=False, **SMALL),
]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title)
def test_names_show_these_settings(spec: fastrt.ModelSpec, flat: bool) -> None:
    arrays = make_shapes(spec)
    if flat:
        arrays = {name: array.reshape(-1) for name, array in arrays.items()}
    guess = fastrt.guess_spec(arrays)
    for field in ("backbone", "embedding_dim", "pool_layer"):
        assert getattr(guess.spec, field) == getattr(spec, field), field
    network = fastrt.build_network(guess.spec.replace(image_size=(32, 32)), arrays)
    assert network.fingerprint() == fastrt.build_network(spec, arrays).fingerprint()
    assert "names do not show these" in guess.notes[1]
    assert "MODEL.BACKBONE.LAST_STRIDE 1" in guess.notes[1]


@pytest.mark.parametrize("arrays", [{}, {"conv.weight": np.zeros(1)}, {"backbone.layer1.0.conv1.weight": np.zeros(1)}])
def test_other_names_are_refused(arrays: dict[str, Array]) -> None:
    with pytest.raises(
        fastrt.SpecError,
        match=r"^checkpoint: .*; expected the names of FastReID's ResNet, .* or .*\. (Give its|Use one)",
    ):
        fastrt.guess_spec(arrays)
