"""Draws the data set of the trained models: ``python -m training.draw FOLDER``."""

from __future__ import annotations

import sys

from rich.progress import Progress

from fastrt.datasets.synthetic import write_synthetic

TRAIN, TEST, DISTRACTORS = 1500, 150, 500


def main(folder: str) -> None:
    """Draw the data set into a new folder."""
    with Progress() as progress:
        task = progress.add_task("drawing people", total=TRAIN + TEST)
        write_synthetic(
            folder,
            train=TRAIN,
            test=TEST,
            distractors=DISTRACTORS,
            advance=lambda done: progress.advance(task, done),
        )


if __name__ == "__main__":
    main(sys.argv[1])
