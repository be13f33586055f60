"""The appearance of a person, common to all images of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
"""BGR, 0 to 255."""

CLOTHES: tuple[Colour, ...] = (
    (30, 30, 32), (58, 56, 54), (110, 108, 106), (178, 176, 172), (226, 226, 224), (92, 58, 34), (128, 84, 40),
    (158, 118, 72), (44, 40, 128), (40, 44, 178), (58, 92, 58), (72, 128, 96), (86, 118, 148), (128, 164, 190),
    (120, 60, 110), (150, 130, 196), (60, 140, 214), (70, 190, 220),
)  # fmt: skip
"""Colours of clothes: mostly dark, grey and blue, rarely bright."""

FREQUENCY = np.array([9, 6, 5, 4, 6, 6, 5, 3, 3, 2, 2, 2, 3, 2, 2, 2, 1, 1], float)
SKIN: tuple[Colour, ...] = ((168, 196, 230), (140, 172, 214), (104, 140, 190), (72, 104, 152), (48, 68, 104))
HAIR: tuple[Colour, ...] = ((24, 24, 28), (34, 42, 58), (52, 76, 108), (96, 140, 176), (150, 152, 156))

TEXTURES = ("plain", "plain", "plain", "stripes", "bars", "checks", "dots", "print")
HAIRCUTS = ("short", "short", "long", "tail", "bald", "cap")
LEGS = ("trousers", "trousers", "trousers", "shorts", "skirt")
BAGS = ("none", "none", "backpack", "shoulder", "hand")


@dataclass(frozen=True)
class Garment:
    """A garment: two colours, a texture of both, and its number of repeats."""

    colour: Colour
    other: Colour
    texture: str
    repeats: int


@dataclass(frozen=True)
class Look:
    """The appearance of one person.

    ``haircut``, ``legs`` and ``bag`` are entries of `HAIRCUTS`, `LEGS` and `BAGS`. ``sleeves`` is their length as a
    fraction of the arm. An open front shows the second colour. Height and girth are relative to the mean.
    """

    skin: Colour
    hair: Colour
    haircut: str
    upper: Garment
    lower: Garment
    legs: str
    sleeves: float
    open_front: bool
    shoes: Colour
    bag: str
    bag_colour: Colour
    height: float
    girth: float


def choose_look(rng: np.random.Generator) -> Look:
    """Draw a random appearance.

    >>> choose_look(np.random.default_rng(1)) == choose_look(np.random.default_rng(1))
    True
    """
    return Look(
        skin=_vary(rng, SKIN[rng.integers(len(SKIN))], 8),
        hair=_vary(rng, HAIR[rng.integers(len(HAIR))], 8),
        haircut=str(rng.choice(HAIRCUTS)),
        upper=_choose_garment(rng, TEXTURES),
        lower=_choose_garment(rng, ("plain", "plain", "plain", "plain", "checks", "bars")),
        legs=str(rng.choice(LEGS)),
        sleeves=float(rng.choice([0.35, 1.0, 1.0])),
        open_front=bool(rng.random() < 0.3),
        shoes=_choose_colour(rng),
        bag=str(rng.choice(BAGS)),
        bag_colour=_choose_colour(rng),
        height=float(rng.normal(1, 0.04)),
        girth=float(rng.normal(1, 0.09)),
    )


def _choose_garment(rng: np.random.Generator, textures: tuple[str, ...]) -> Garment:
    return Garment(_choose_colour(rng), _choose_colour(rng), str(rng.choice(textures)), int(rng.integers(4, 11)))


def _choose_colour(rng: np.random.Generator) -> Colour:
    return _vary(rng, CLOTHES[rng.choice(len(CLOTHES), p=FREQUENCY / FREQUENCY.sum())], 10)


def _vary(rng: np.random.Generator, colour: Colour, by: float) -> Colour:
    blue, green, red = (int(np.clip(part + rng.normal(0, by), 0, 255)) for part in colour)
    return blue, green, red
