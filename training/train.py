"""Trains a model of `training.models`: ``python -m training.train FOLDER NAME OUTPUT [EPOCHS]``.

The loss is a classifier on the embedding plus a hard triplet loss on the pooled features, as in FastReID's strong
baseline. All images and their augmentation are on the device.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as f

from fastrt import save_weights
from fastrt.datasets.base import LabelledImage, read_folder
from fastrt.datasets.synthetic import Synthetic
from fastrt.evaluation.distances import distance_blocks
from fastrt.evaluation.ranking import Ranking, rank
from fastrt.images.preprocess import find_resampler, read_image
from training.models import RECIPES, SIZE
from training.network import Module, to_array

EPOCHS = 40
PEOPLE, VIEWS = 24, 6
LONGEST = 5.0
"""Longest gradient; longer ones are scaled to it."""
WARM_UP = 0.1
SMOOTHING = 0.1


def main(folder: str, name: str, output: str, epochs: int = EPOCHS) -> None:
    """Train on a folder of `training.draw`, evaluate, and write the checkpoint."""
    recipe = RECIPES[name]
    spec = recipe.describe()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    train = read_folder("synthetic", Path(folder) / "bounding_box_train")
    pixels = read_pixels(train).to(device)
    classes = {pid: i for i, pid in enumerate(sorted({image.pid for image in train}))}
    labels = torch.tensor([classes[image.pid] for image in train], device=device)
    model = Module(spec, len(classes)).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    steps = epochs * (len(train) // (PEOPLE * VIEWS))
    start = time.perf_counter()
    for step, rows in enumerate(sample_batches(labels.cpu(), steps)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * schedule(step / steps)
        batch, wanted = augment(pixels[rows.to(device)]), labels[rows.to(device)]
        with torch.autocast(device.type, torch.bfloat16):
            pooled, _, scores = model(batch.to(memory_format=torch.channels_last))
        loss = f.cross_entropy(scores.float(), wanted, label_smoothing=SMOOTHING) + hardest_triplets(pooled, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s", flush=True)
    result = test(model, folder, device)
    print(f"rank-1 {100 * result.rank1:.2f}, mAP {100 * result.mAP:.2f} on people not trained on")
    arrays = {name: to_array(tensor) for name, tensor in model.checkpoint()}
    save_weights(arrays, output, spec=spec.model_dump(mode="json"))


def read_pixels(images: list[LabelledImage]) -> Tensor:
    """Read images as ``(n, 3, H, W)`` uint8 RGB, resized as in a session."""
    resample = find_resampler("pil-bicubic")
    with ThreadPoolExecutor() as readers:
        resized = readers.map(lambda image: resample(read_image(image.path), SIZE), images)
        return torch.from_numpy(np.stack([pixels[..., ::-1].transpose(2, 0, 1) for pixels in resized]))


def sample_batches(labels: Tensor, steps: int) -> Iterator[Tensor]:
    """Yield batches of ``PEOPLE`` identities with ``VIEWS`` images each."""
    rng = np.random.default_rng(0)
    order = np.argsort(labels.numpy(), kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels.numpy()[order])) + 1)
    for _ in range(steps):
        chosen = rng.permutation(len(groups))[:PEOPLE]
        yield torch.from_numpy(np.concatenate([rng.choice(groups[i], VIEWS, len(groups[i]) < VIEWS) for i in chosen]))


def schedule(done: float) -> float:
    """Return the learning rate factor: linear warm-up, then cosine decay."""
    return done / WARM_UP if done < WARM_UP else 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def augment(pixels: Tensor) -> Tensor:
    """Apply random flips, shifts, colour changes and erasing."""
    count, _, height, width = pixels.shape
    device = pixels.device
    x = pixels.float()
    x = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.5, x.flip(3), x)
    x = (
        x
        * (1 + 0.1 * torch.randn(count, 3, 1, 1, device=device))
        * (1 + 0.15 * torch.randn(count, 1, 1, 1, device=device))
    )
    shift = torch.zeros(count, 2, 3, device=device)
    shift[:, 0, 0] = shift[:, 1, 1] = 1 + 0.06 * torch.randn(count, device=device)
    shift[:, :, 2] = 0.07 * torch.randn(count, 2, device=device)
    x = f.grid_sample(x, f.affine_grid(shift, list(x.shape), align_corners=False), align_corners=False)
    centre, half = torch.rand(count, 2, 1, device=device), 0.1 + 0.15 * torch.rand(count, 2, 1, device=device)
    down, across = (
        (torch.arange(size, device=device)[None] / size - centre[:, axis]).abs() < half[:, axis]
        for axis, size in enumerate((height, width))
    )
    chosen = torch.rand(count, 1, 1, 1, device=device) < 0.5
    covered = down[:, None, :, None] & across[:, None, None, :] & chosen
    return torch.where(covered, torch.full_like(x, 115.0), x).clamp(0, 255)


def hardest_triplets(features: Tensor, labels: Tensor) -> Tensor:
    """Compute the soft-margin triplet loss with each row's hardest positive and negative."""
    features = features.float()
    distances = torch.cdist(features, features)
    same = labels[:, None] == labels
    farthest = torch.where(same, distances, torch.zeros_like(distances)).amax(1)
    nearest = torch.where(same, torch.full_like(distances, torch.inf), distances).amin(1)
    return f.softplus(farthest - nearest).mean()


def test(model: Module, folder: str, device: torch.device) -> Ranking:
    """Evaluate on the test set."""
    data_set = Synthetic(folder)
    model.eval()
    rows = []
    with torch.inference_mode():
        for part in (data_set.query, data_set.gallery):
            batches = read_pixels(list(part)).split(256)
            rows.append(np.concatenate([model(batch.to(device).float())[1].cpu().numpy() for batch in batches]))
    parts = (data_set.query, data_set.gallery)
    pids, camids = ([np.array([getattr(p, key) for p in part]) for part in parts] for key in ("pid", "camid"))
    return rank(distance_blocks(rows[0], rows[1]), pids[0], pids[1], camids[0], camids[1])


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:5]))
