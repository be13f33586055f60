"""The presets are FastReID's model zoo, and the five examples of FastRT."""

from __future__ import annotations

import pytest

import fastrt
from fastrt.models.presets import read_preset
from presets import EXAMPLES
from shapes import make_shapes

POOLS = {"bagtricks": "GlobalAvgPool", "AGW": "GeneralizedMeanPooling", "sbs": "GeneralizedMeanPoolingP"}
BUILDERS = {"R50": "resnet", "R50-ibn": "resnet", "R101-ibn": "resnet", "S50": "resnest"}
VEHICLES = ["VERIWild/bagtricks_R50-ibn", "VeRi/sbs_R50-ibn", "VehicleID/bagtricks_R50-ibn"]


def test_all_configs_of_the_zoo_are_there() -> None:
    people = [f"{recipe}_{variant}" for recipe in POOLS for variant in BUILDERS]
    assert fastrt.preset_names() == sorted({*people, "bagtricks_vit", "mgn_R50-ibn", *VEHICLES, *EXAMPLES})


@pytest.mark.parametrize("variant", BUILDERS)
@pytest.mark.parametrize("recipe", POOLS)
def test_a_recipe_has_its_pooling_and_a_variant_its_backbone(recipe: str, variant: str) -> None:
    config = read_preset(f"{recipe}_{variant}")
    assert config["MODEL.HEADS.POOL_LAYER"] == POOLS[recipe]
    assert config["MODEL.BACKBONE.NAME"] == f"build_{BUILDERS[variant]}_backbone"
    assert config["MODEL.BACKBONE.DEPTH"] == ("101x" if variant == "R101-ibn" else "50x")
    assert config.get("MODEL.BACKBONE.WITH_IBN", False) == variant.endswith("-ibn")
    assert config["INPUT.SIZE_TEST"] == ([384, 128] if recipe == "sbs" else [256, 128])
    if variant != "S50":  # FastReID's ResNeSt has no non-local blocks
        assert config.get("MODEL.BACKBONE.WITH_NL", False) == (recipe != "bagtricks")


@pytest.mark.parametrize("name", VEHICLES)
def test_vehicles_are_square(name: str) -> None:
    spec = fastrt.load_spec(f"{name}.yml")
    assert spec.title == ("resnet 50 ibn nl" if "sbs" in name else "resnet 50 ibn")
    assert spec.image_size == (256, 256)
    assert spec.pool_layer == ("GeneralizedMeanPoolingP" if "sbs" in name else "GeneralizedMeanPooling")


@pytest.mark.parametrize("name", fastrt.preset_names())
def test_a_preset_is_built(name: str) -> None:
    spec = fastrt.load_spec(name, ["INPUT.SIZE_TEST", [96, 32]])
    network = fastrt.build_network(spec, make_shapes(spec))
    assert network.output.shape == (spec.backbone.channels,)
