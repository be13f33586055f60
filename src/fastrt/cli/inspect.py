"""``fastrt inspect``."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fastrt.cli.arguments import AsJson, Device, Key
from fastrt.cli.output import result_console, say_json
from fastrt.engine.load import describe, list_layers
from fastrt.errors import CheckpointError, EngineError, SpecError
from fastrt.models.load import describe_weights
from fastrt.models.versions import recognise_version
from fastrt.targets.registry import SUFFIXES, is_engine
from fastrt.timing.layers import sum_by_kind, time_layers
from fastrt.weights import READERS, load_weights


def run(
    file: Annotated[Path, typer.Argument(help="A checkpoint or an engine.", show_default=False)],
    layers: Annotated[
        bool, typer.Option("--layers", help="List all arrays of a checkpoint, or all layers of an engine.")
    ] = False,
    timed: Annotated[
        bool,
        typer.Option("--time-layers", help="Time an engine's layers, summed by kind; --layers lists each."),
    ] = False,
    batch: Annotated[
        int | None, typer.Option(help="Images per batch of --time-layers. Default: the engine's preferred batch size.")
    ] = None,
    device: Device = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Describe a checkpoint or an engine."""
    if not file.exists():
        raise CheckpointError(f"{file}: does not exist; expected a checkpoint or an engine. Check the path.")
    if file.is_dir():
        raise CheckpointError(f"{file}: is a folder; expected a checkpoint or an engine. Name the file in it.")
    if not is_engine(file) and file.suffix.lower() not in READERS:
        raise CheckpointError(
            f"{file}: {f'suffix {file.suffix}' if file.suffix else 'no suffix'}; expected an engine"
            f" ({', '.join(SUFFIXES)}) or a checkpoint ({', '.join(READERS)}). Name another file."
        )
    if timed and not is_engine(file):
        raise EngineError(f"{file}: a checkpoint; --time-layers expected an engine. Build one with fastrt build.")
    if key is not None and is_engine(file):
        raise EngineError(f"{file}: an engine; --key expected a checkpoint. Leave --key out.")
    found = _describe_engine(file, layers and not timed) if is_engine(file) else _describe_checkpoint(file, layers, key)
    if timed:
        found |= _time_engine(file, batch, device, layers or as_json)
    if as_json:
        say_json(found)
    else:
        _print(found)


def _describe_engine(path: Path, layers: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"engine": str(path), **describe(path).model_dump()}
    if layers:
        found["layers"] = [
            {"name": layer.name, "kind": layer.kind, "shape": layer.shape} for layer in list_layers(path)
        ]
    return found


def _time_engine(path: Path, batch: int | None, device: str | None, layers: bool) -> dict[str, Any]:
    size, timed = time_layers(path, batch, device)
    total = sum(layer.us for layer in timed)
    kinds = [
        {"kind": kind.kind, "layers": kind.layers, "us": round(kind.us, 1), "%": round(100 * kind.us / total, 1)}
        for kind in sum_by_kind(timed)
    ]
    found = {"timed_batch": size, "timed_us": round(total, 1), "kinds": kinds}
    return {**found, "layers": [asdict(layer) for layer in timed]} if layers else found


def _describe_checkpoint(path: Path, layers: bool, key: str | None) -> dict[str, Any]:
    weights = load_weights(path, key)
    found: dict[str, Any] = {
        "checkpoint": str(path),
        "arrays": len(weights),
        "numbers": sum(array.size for array in weights.values()),
        "dtypes": sorted({str(array.dtype) for array in weights.values()}),
    }
    try:
        model = describe_weights(path, weights, guess=True)
    except SpecError as error:
        found |= {"spec": None, "notes": [str(error)]}
    else:
        spec = model.spec.model_dump(mode="json")
        found |= {
            "checkpoint_version": recognise_version(model.spec, weights),
            "spec": spec,
            "notes": list(model.notes),
        }
    if layers:
        found["layers"] = [
            {"name": name, "dtype": str(array.dtype), "shape": array.shape} for name, array in weights.items()
        ]
    return found


def _print(found: dict[str, Any]) -> None:
    listings = [found.pop(name, None) for name in ("kinds", "layers")]
    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in found.items():
        for i, (name, text) in enumerate(_rows(value)):
            table.add_row(key if i == 0 else "", name, _text(text))
    console = result_console()
    console.print(table)
    for rows in filter(None, listings):
        listing = Table(box=None, pad_edge=False)
        for column in rows[0]:
            listing.add_column(column, no_wrap=True)
        for row in rows:
            listing.add_row(*(_text(value) for value in row.values()))
        console.print(listing)


def _rows(value: object) -> Iterator[tuple[str, object]]:
    """Yield the name and value of each line; nested names have dots: ``backbone.depth``."""
    if not isinstance(value, dict):
        yield "", value
        return
    for name, inner in value.items():
        for below, text in _rows(inner):
            yield f"{name}.{below}" if below else name, text


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list | tuple):
        separator = "x" if value and all(isinstance(item, int) for item in value) else ", "
        return separator.join(map(str, value))
    return str(value)
