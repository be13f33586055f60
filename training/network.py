"""The demonstration's network in PyTorch, with FastReID's names.

Source: projects/FastDistill's resnet_distill.py and fastreid's EmbeddingHead, as described in the presets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WIDTHS = (64, 128, 256, 512)


class Ibn(nn.Module):
    """IBN-a: instance norm on the first half of the channels, batch norm on the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.IN(x[:, : self.half].float()), self.BN(x[:, self.half :])], 1)


class Block(nn.Module):
    """A basic block with ReLU on its input instead of its output."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, ibn: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1: nn.Module = Ibn(outputs) if ibn else nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = f.relu(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x))))) + shortcut


class Backbone(nn.Module):
    """A ResNet-18 of FastReID's distill type, last stride 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for i, (outputs, stride) in enumerate(zip(WIDTHS, (1, 2, 2, 1), strict=True)):
            ibn = i < 3
            blocks = Block(inputs, outputs, stride, ibn=ibn), Block(outputs, outputs, 1, ibn=ibn)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        x = f.max_pool2d(f.relu(self.bn1(self.conv1(x))), 3, 2, ceil_mode=True)
        for i in range(4):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return f.relu(x)


class Pool(nn.Module):
    """Generalised mean pooling with a trained exponent."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.ones(1) * 3)

    def forward(self, x: Tensor) -> Tensor:
        return x.float().clamp(min=1e-6).pow(self.p).mean((2, 3), keepdim=True).pow(1 / self.p)


class Head(nn.Module):
    """Pooling, BN neck, and a classifier for training."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pool_layer = Pool()
        self.bottleneck = nn.Sequential(nn.BatchNorm2d(512))
        self.bottleneck[0].bias.requires_grad_(requires_grad=False)
        self.weight = nn.Parameter(torch.randn(classes, 512) * 0.01)


class Model(nn.Module):
    """The whole network; input ``(n, 3, H, W)`` RGB from 0 to 255."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.heads = Head(classes)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return pooled features, embeddings and class scores."""
        pooled = self.heads.pool_layer(self.backbone((pixels - self.mean) / self.std))
        embedding = self.heads.bottleneck(pooled).flatten(1)
        return pooled.flatten(1), embedding, f.linear(embedding, self.heads.weight)
