"""FastReID's config keys without effect at inference, and the check of keys that fastrt does not read.

Source: fastreid/config/defaults.py of all versions, and the add_*_config functions of its projects.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from fastrt.errors import SpecError
from fastrt.models.backbones.base import unknown_key

_UNREAD = {
    "": "CUDNN_BENCHMARK OUTPUT_DIR SEED VERSION",
    "MODEL": "DEVICE FREEZE_LAYERS NUM_CLASSES OPEN_LAYERS QUEUE_SIZE STUDENT_WEIGHTS TEACHER_WEIGHTS WEIGHTS",
    "MODEL.HEADS": "CLS_LAYER IN_FEAT MARGIN NECK_FEAT NORM NORM_SPLIT NUM_CLASSES SCALE",
    "MODEL.HEADS.ARCFACE": "MARGIN SCALE",
    "MODEL.HEADS.CIRCLE": "MARGIN SCALE",
    "MODEL.HEADS.PFC": "ENABLED SAMPLE_RATE",
    "MODEL.LOSSES": ("EPSILON HARD_MINING MARGIN NAME NORM_FEAT SCALE_CE SCALE_TRI SMOOTH_ON USE_COSINE_DIST"),
    "MODEL.LOSSES.BCE": "SCALE WEIGHT_ENABLED",
    "MODEL.LOSSES.BFL": "ALPHA GAMMA SCALE",
    "MODEL.LOSSES.CE": "ALPHA EPSILON SCALE",
    "MODEL.LOSSES.CIRCLE": "ALPHA GAMMA MARGIN SCALE",
    "MODEL.LOSSES.CONTRASTIVE": "MARGIN SCALE",
    "MODEL.LOSSES.COSFACE": "GAMMA MARGIN SCALE",
    "MODEL.LOSSES.FL": "ALPHA GAMMA SCALE",
    "MODEL.LOSSES.TRI": "HARD_MINING MARGIN NORM_FEAT SCALE USE_COSINE_DIST",
    "INPUT": (
        "AUGMIX_PROB AUTOAUG_PROB BRIGHTNESS CONTRAST DO_AFFINE DO_AUGMIX DO_AUTOAUG DO_CJ DO_FLIP DO_LIGHTING DO_PAD"
        " FLIP_PROB MAX_LIGHTING PADDING PADDING_MODE P_LIGHTING SIZE_TRAIN"
    ),
    "INPUT.AFFINE": "ENABLED",
    "INPUT.AUGMIX": "ENABLED PROB",
    "INPUT.AUTOAUG": "ENABLED PROB",
    "INPUT.CJ": "BRIGHTNESS CONTRAST ENABLED HUE PROB SATURATION",
    "INPUT.CROP": "ENABLED RATIO SCALE SIZE",
    "INPUT.CUTOUT": "ENABLED MEAN PROB SIZE",
    "INPUT.FLIP": "ENABLED PROB",
    "INPUT.PADDING": "ENABLED MODE SIZE",
    "INPUT.REA": "ENABLED MEAN PROB VALUE",
    "INPUT.RGPR": "ENABLED PROB",
    "INPUT.RPT": "ENABLED PROB",
    "KD": "MODEL_CONFIG MODEL_WEIGHTS",
    "KD.EMA": "ENABLED MOMENTUM",
    "DATASETS": "COMBINEALL NAMES REC_PATH RM_LT TESTS",
    "DATALOADER": "NAIVE_WAY NUM_INSTANCE NUM_WORKERS PK_SAMPLER SAMPLER SAMPLER_TRAIN SET_WEIGHT",
    "SOLVER": (
        "AMP_ENABLED BASE_LR BIAS_LR_FACTOR CHECKPOINT_PERIOD COS_ANNEAL_ITERS DELAY_EPOCHS DELAY_ITERS DIST"
        " ETA_MIN_LR EVAL_PERIOD FP16_ENABLED FREEZE_FC_ITERS FREEZE_ITERS GAMMA HEADS_LR_FACTOR IMS_PER_BATCH"
        " LOG_INTERVAL LOG_PERIOD MAX_EPOCH MAX_ITER MOMENTUM NESTEROV OPT SCHED STEPS WARMUP_EPOCHS WARMUP_FACTOR"
        " WARMUP_ITERS WARMUP_METHOD WEIGHT_DECAY WEIGHT_DECAY_BIAS WEIGHT_DECAY_NORM"
    ),
    "SOLVER.AMP": "ENABLED",
    "SOLVER.CLIP_GRADIENTS": "CLIP_TYPE CLIP_VALUE ENABLED NORM_TYPE",
    "SOLVER.SWA": "CYCLIC_LR ENABLED ETA_MIN_LR ITER LR LR_FACTOR LR_SCHED PERIOD",
    "TEST": (
        "EVALUATOR EVAL_PERIOD FLIP_ENABLED IMS_PER_BATCH METRIC NORM RECALLS ROC_ENABLED SAVE_DISTMAT THRES WEIGHT"
    ),
    "TEST.AQE": "ALPHA ENABLED QE_K QE_TIME",
    "TEST.DSR": "ENABLED LAMB TOPK",
    "TEST.FLIP": "ENABLED",
    "TEST.PRECISE_BN": "DATASET ENABLED NUM_ITER",
    "TEST.RERANK": "ENABLED K1 K2 LAMBDA",
    "TEST.ROC": "ENABLED",
    "torchreid": "num_classes",
}

UNREAD_KEYS = {f"{group}.{leaf}".lstrip(".") for group, leaves in _UNREAD.items() for leaf in leaves.split()}
"""Keys without effect at inference. MODEL.HEADS.NECK_FEAT chooses the input of the training loss, not the output."""

TRAINING_GROUPS = ("KD", "DATASETS", "DATALOADER", "SOLVER", "TEST")
"""Groups whose keys never describe the network; unknown ones in a config are not refused, and few are logged."""

COMMON = ("ENABLED", "NAME", "NORM")
"""Last parts of keys that stand in many groups."""

SIMILAR = 0.9
"""Similarity of a key to a read one from which it is taken for a typing mistake: ``INPUT.SIZE_TSET``."""

SIMILAR_LEAF = 0.7
"""The same of a key's last part, within a group: ``INPUT.SIZ_TST``."""


def is_unread(key: str, value: object, read: Sequence[str], *, strict: bool) -> bool:
    """Check a key that fastrt does not read; False for one that FastReID does not have.

    Args:
        key: the key, with dots.
        value: its value.
        read: the keys that fastrt reads; FastReID's first.
        strict: refuse every key that FastReID does not have, as in an override.

    Raises:
        SpecError: the key may be a typing mistake, or stands for keys below it.
    """
    known = (*read, *UNREAD_KEYS)
    if value in (None, {}) and any(name.startswith(f"{key}.") for name in known):
        return True
    if any(name.startswith(f"{key}.") for name in read):
        raise SpecError(f"{key}: {value!r}; expected keys below it. Correct the config.")
    if key in UNREAD_KEYS:
        return True
    meant = _find_meant(key, read)
    if meant:
        raise unknown_key(key, "a config", meant)
    if strict:
        raise unknown_key(key, "a config", [name for name in read if "." in name and name[0].isupper()])
    leaves = {name.rpartition(".")[2] for name in read}
    return key.split(".", maxsplit=1)[0] in TRAINING_GROUPS and key.rpartition(".")[2] not in leaves


def _find_meant(key: str, read: Sequence[str]) -> list[str]:
    """Find the read keys that an unknown key may be meant for: a typing mistake, another case, order or group."""
    upper = {name.upper(): name for name in reversed(read)}
    near = difflib.get_close_matches(key.upper(), upper, 1, SIMILAR)
    below = [name for name in upper if key.upper().startswith(f"{name}.")]  # INPUT.SIZE_TEST.HEIGHT
    if near or below:
        return [upper[name] for name in (near or below)]
    group, _, leaf = key.upper().rpartition(".")
    words = set(leaf.split("_"))
    inside = {name.rpartition(".")[2]: name for name in upper if name.rpartition(".")[0] == group}
    for name, full in inside.items():
        if words <= set(name.split("_")):
            return [upper[full]]
    if near := difflib.get_close_matches(leaf, inside, 1, SIMILAR_LEAF):
        return [upper[inside[near[0]]]]
    if group not in _UNREAD or group.startswith(TRAINING_GROUPS):
        return []  # a project's own group, such as MODEL.PCB
    if leaf in COMMON and group != "MODEL":
        return []
    return [upper[name] for name in upper if name.rpartition(".")[2] == leaf][-1:]
