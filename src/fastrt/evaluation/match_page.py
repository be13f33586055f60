"""Writes matches as one HTML file with thumbnails. It needs no other file and loads nothing from the network."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from html import escape
from pathlib import Path

import numpy as np
import PIL.Image

from fastrt.errors import OutputError
from fastrt.evaluation.match import Matches, QueryMatches
from fastrt.files import ESCAPED, check_place, written_whole
from fastrt.images.preprocess import read_image
from fastrt.targets.engine_info import EngineInfo
from fastrt.version import __version__

VERDICTS = {True: "same person", False: "different", None: ""}
"""What a comparison with the threshold says; None without a threshold."""

THUMBNAIL = (128, 192)
"""Largest width and height of a thumbnail, in pixels."""

HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Matches</title>
<style>
  :root { color-scheme: light dark; --same: #2a7f3f; --different: #b0322b; --plain: #808080; }
  body { font: 15px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem; }
  section { border-top: 1px solid var(--plain); display: flex; flex-wrap: wrap; gap: .75rem; padding: .75rem 0; }
  figure { margin: 0; width: 8.5rem; }
  figure.query { margin-right: 1rem; }
  img { border: 3px solid var(--plain); box-sizing: border-box; display: block; height: 12rem; object-fit: contain;
    width: 100%; }
  figure.same img { border-color: var(--same); }
  figure.different img { border-color: var(--different); }
  figcaption { font-size: .8rem; overflow-wrap: anywhere; }
  @media (max-width: 30rem) { figure, figure.query { margin-right: 0; width: calc(50% - .375rem); } }
</style>
<h1>Matches</h1>
"""


def check_page(path: Path) -> None:
    """Raise the errors of `write_page` that are known before the search."""
    if path.suffix.lower() not in (".html", ".htm"):
        suffix = f"suffix {path.suffix}" if path.suffix else "no suffix"
        raise OutputError(f"{path}: {suffix}; expected .html. Rename the output.")
    check_place(path)


def write_page(path: str | os.PathLike[str], matches: Matches, info: EngineInfo, threshold: float | None) -> None:
    """Write a page with the thumbnails of each query and of its matches.

    Args:
        path: the ``.html`` file.
        matches: result of `fastrt.match`.
        info: description of the engine.
        threshold: the similarity that decided on the same person, if there was one.

    Raises:
        OutputError: the file is not named ``.html``, or cannot be written.
        ImageError: an image cannot be read any more.
    """
    path = Path(path)
    check_page(path)
    with written_whole(path) as new_path, new_path.open("w", encoding="utf-8", errors=ESCAPED) as file:
        file.write(HEAD)
        file.write(_describe(matches, info, threshold))
        for query in matches.queries:
            file.writelines(_lines(query))
        if matches.unreadable:
            items = "".join(f"<li>{escape(reason)}\n" for _, reason in matches.unreadable)
            file.write(f"<h2>Files without an embedding</h2>\n<ul>{items}</ul>\n")


def _describe(matches: Matches, info: EngineInfo, threshold: float | None) -> str:
    height, width = info.image_size
    network = f", network {info.fingerprint[:12]}" if info.fingerprint else ""
    engine = f"{info.target} {info.precision or ''}, {height}x{width} to {info.embedding_dim}{network}"
    used = "There is no threshold." if threshold is None else f"Same person: similarity of {threshold:.4f} or more."
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"<p>{len(matches.queries)} queries, {matches.gallery} gallery images. {used}</p>\n"
        f"<p>{escape(engine)}. fastrt {__version__}, {date}.</p>\n"
    )


def _lines(found: QueryMatches) -> Iterator[str]:
    note = "<br>its own file is left out" if found.left_out else ""
    yield f"<section>\n{_figure(found.query, 'query', f'query{note}')}"
    for place, hit in enumerate(found.matches, 1):
        verdict = VERDICTS[hit.same_person]
        yield _figure(hit.image, verdict.partition(" ")[0], f"{place} · {hit.similarity:.4f} {verdict}")
    yield "</section>\n"


def _figure(path: Path, kind: str, caption: str) -> str:
    name = escape(str(path))
    image = f'<img loading="lazy" alt="{name}" src="data:image/jpeg;base64,{_thumbnail(path)}">'
    return f'<figure class="{kind}" title="{name}">{image}<figcaption>{caption}<br>{name}</figcaption></figure>\n'


def _thumbnail(path: Path) -> str:
    image = PIL.Image.fromarray(np.ascontiguousarray(read_image(path)[..., ::-1]))
    image.thumbnail(THUMBNAIL)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return base64.b64encode(content.getvalue()).decode()
