"""``fastrt evaluate``."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from fastrt.cli.arguments import AsJson, Device, Engine
from fastrt.cli.output import progress_bar, say, say_json, say_note
from fastrt.datasets import CUHK03NP, MSMT17, DataSet, DukeMTMC, Market1501, VehicleID, VeRi, VERIWild, read_data_set
from fastrt.datasets.people import Synthetic
from fastrt.engine.load import load
from fastrt.errors import EvaluationError
from fastrt.evaluation.distances import Metric
from fastrt.evaluation.evaluate import Scores, evaluate, measure_roc
from fastrt.evaluation.outputs import check_options, check_outputs, write_outputs
from fastrt.evaluation.threshold import Threshold, find_threshold

SETS: dict[str, Callable[[Path], DataSet]] = {
    "market1501": Market1501,
    "market1501-500k": partial(Market1501, distractors=True),
    "dukemtmc": DukeMTMC,
    "msmt17": MSMT17,
    "cuhk03-np": CUHK03NP,
    "cuhk03-np-detected": partial(CUHK03NP, labeled=False),
    "veri776": VeRi,
    **{f"vehicleid-{size}": partial(VehicleID, size=size) for size in ("small", "medium", "large")},
    **{f"veriwild-{size}": partial(VERIWild, size=size) for size in ("small", "medium", "large")},
    "synthetic": Synthetic,
    "csv": read_data_set,
}


def run(
    engine: Engine,
    dataset: Annotated[str, typer.Option("--dataset", help=f"{', '.join(SETS)}.", show_default=False)],
    root: Annotated[Path, typer.Option(help="Folder of the data set; for csv, the file.", show_default=False)],
    rerank: Annotated[
        Literal["none", "fastreid", "zhong"], typer.Option(help="Re-ranking: FastReID's, or the paper's.")
    ] = "none",
    metric: Annotated[Metric, typer.Option(help="Distance; euclidean is squared, as FastReID's.")] = "cosine",
    expand: Annotated[bool, typer.Option("--expand", help="Alpha query expansion.")] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average the embeddings of each image and its mirror image.")
    ] = False,
    roc: Annotated[
        bool, typer.Option("--roc", help="Also print true positive rates, as FastReID computes them.")
    ] = False,
    false_matches: Annotated[
        float | None,
        typer.Option(
            help="Find the similarity threshold for this fraction of false matches, for example 0.001.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Output folder for a page with curves and rank lists.", show_default=False),
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate an engine on a data set: rank-1, mAP and mINP, as FastReID computes them."""
    if dataset not in SETS:
        raise EvaluationError(f"--dataset {dataset}: unknown; expected {', '.join(SETS)}. Choose one of them.")
    check_options(false_matches, report)
    data_set = SETS[dataset](root)
    with load(engine, device) as session, progress_bar() as progress:
        check_outputs(engine, data_set, roc=roc, false_matches=false_matches, report=report)
        task = progress.add_task("embedding", total=(len(data_set.query) + len(data_set.gallery)) * (1 + flip))
        scores = evaluate(
            session,
            data_set,
            metric=metric,
            reranking=None if rerank == "none" else rerank,
            expand=expand,
            flip=flip,
            advance=lambda done: progress.advance(task, done),
        )
        info = session.info
    rates = measure_roc(scores.pairs) if roc else {}
    threshold = None if false_matches is None else find_threshold(scores.pairs, false_matches)
    files = write_outputs(engine, info, scores, data_set, threshold=threshold, report=report)
    for name, file in files.items():
        say_note(f"the {name.partition('_')[0]} is {file}")
    print_scores = _print_json if as_json else _print_text
    print_scores(scores, rates, threshold)


def _print_json(scores: Scores, rates: Mapping[str, float], threshold: Threshold | None) -> None:
    cmc = [round(float(part), 6) for part in scores.cmc]
    found = {} if threshold is None else {"threshold": asdict(threshold)}
    say_json({"title": scores.title, "queries": scores.valid, **scores.figures(), **rates, "cmc": cmc, **found})


def _print_text(scores: Scores, rates: Mapping[str, float], threshold: Threshold | None) -> None:
    say(str(scores))
    if rates:
        say(", ".join(f"{name} {100 * rate:.2f}" for name, rate in rates.items()))
    if threshold is not None:
        say(str(threshold))
