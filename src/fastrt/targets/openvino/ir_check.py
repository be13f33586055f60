"""Checks an IR before OpenVINO reads it: OpenVINO crashes on graphs with missing or circular edges."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from xml.etree import ElementTree as ET

from fastrt.errors import EngineError


def check_ir(path: Path) -> None:
    """Raise `EngineError` unless the file is XML whose edges make a complete graph without circles.

    Every input of every layer has one edge, from an output of a layer; in the bodies of loops and of Ifs, too.
    """
    try:
        for element in ET.fromstring(path.read_bytes(), ET.XMLParser(target=_Builder())).iter():  # noqa: S314
            if element.tag == "net" or element.tag.endswith("body"):  # then_body of an If
                _check_graph(element)
    except (ET.ParseError, ValueError, LookupError, _DamagedError) as error:
        raise EngineError(f"{path}: not an OpenVINO engine, or damaged ({error}). Build it again.") from None


class _DamagedError(Exception):
    """The graph is inconsistent; the message is the reason."""


class _Builder(ET.TreeBuilder):
    """Refuses a document type: it can define entities that grow without bound."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DamagedError(f"a document type, {name}")


def _check_graph(graph: ET.Element) -> None:
    inputs, outputs = set[tuple[str, str]](), set[tuple[str, str]]()
    layers: dict[str, set[str]] = {}
    for layer in graph.iterfind("layers/layer"):
        name = layer.attrib["id"]
        if name in layers:
            raise _DamagedError(f"two layers {name}")
        layers[name] = set()
        inputs |= {(name, port) for port in _ports(layer, "input")}
        outputs |= {(name, port) for port in _ports(layer, "output")}
    for edge in graph.iterfind("edges/edge"):
        source = edge.attrib["from-layer"], edge.attrib["from-port"]
        sink = edge.attrib["to-layer"], edge.attrib["to-port"]
        if source not in outputs or sink not in inputs:
            raise _DamagedError(f"an edge from {':'.join(source)} to {':'.join(sink)}, which do not exist or have one")
        inputs.remove(sink)
        layers[sink[0]].add(source[0])
    if inputs:
        raise _DamagedError(f"no edge to {':'.join(min(inputs))}")
    try:
        TopologicalSorter(layers).prepare()
    except CycleError:
        raise _DamagedError("layers in a circle") from None


def _ports(layer: ET.Element, side: str) -> Iterator[str]:
    ports = [port.attrib["id"] for port in layer.iterfind(f"{side}/port")]
    if len(set(ports)) != len(ports):
        raise _DamagedError(f"two ports of one number in layer {layer.attrib['id']}")
    yield from ports
