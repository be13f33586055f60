"""Builds a plan, and reads a plan's description.

The description is the network's name, which every plan stores as plain text. trtexec, Triton and C++ can load the same
plan.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from fastrt.errors import EngineError, OutputError, TargetError
from fastrt.files import written_whole
from fastrt.ir.network import Network
from fastrt.ir.ops import QuantizeDequantize
from fastrt.passes import HALVES
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.tensorrt.capabilities import Capabilities, Trt
from fastrt.targets.tensorrt.lowering import TensorRtLowering
from fastrt.targets.tensorrt.messages import describe_error, make_logger

logger = logging.getLogger("fastrt")

MARK = "fastrt:"
"""Prefix of the network's name, before the description."""

MAX_DESCRIPTION = 1 << 16
TIMINGS = 8
"""Number of times that the builder times a kernel; one is too noisy for kernels that take microseconds."""

WORKSPACE = 4 << 30
"""Largest scratch memory of a layer, in bytes. The default is the GPU's whole memory, which other processes may use.

Source: ``MemoryPoolType::kWORKSPACE`` in NvInfer.h.
"""


def build_plan(capabilities: Capabilities, network: Network, info: EngineInfo, options: BuildOptions) -> bytes:
    """Build the plan of a network, with one optimisation profile per range of batches.

    Raises:
        EngineError: TensorRT refuses the network or fails to build it; TensorRT's message names the tensor.
        TargetError: TensorRT has no builder, or lacks an option.
    """
    trt = capabilities.trt
    if not capabilities.can_build:
        raise TargetError(f"{capabilities.version}: a runtime without a builder. Install the full TensorRT to build.")
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    half = info.precision in HALVES
    definition = capabilities.create_network(builder)
    definition.name = MARK + info.to_text()
    quantized = any(isinstance(tensor.operation, QuantizeDequantize) for tensor in network)
    batch = max(options.batches, default=1)
    lowering = TensorRtLowering(capabilities, definition, logger.errors, half=half, quantized=quantized, batch=batch)
    *_, (_, output) = lowering.lower(network)
    definition.mark_output(output)
    config = configure(capabilities, builder, info, options, bound=lowering.bound, quantized=quantized)
    for shortest, best, longest in profile_ranges(options.batches):
        profile = builder.create_optimization_profile()
        profile.set_shape(network.input.name, *((size, *network.input.shape) for size in (shortest, best, longest)))
        config.add_optimization_profile(profile)
    count = len(logger.errors)
    cache = open_timing_cache(config, options.timing_cache)
    del logger.errors[count:]  # a cache of another GPU or version is not a network error
    monitor = _watch(trt, config, options.progress)
    plan = builder.build_serialized_network(definition, config)
    del monitor
    if plan is None:
        reason = describe_error(logger.errors)
        if "nvinfer_lean" in reason:
            raise TargetError(
                f"{capabilities.version}: no lean runtime for a version-compatible plan; expected one ({reason})."
                " Install it."
            )
        raise EngineError(f"{capabilities.version}: it cannot build the network ({reason})")
    if cache is not None and options.timing_cache is not None:
        _save_timing_cache(config, options.timing_cache)
    return bytes(plan)


def profile_ranges(batches: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return the smallest, best and largest batch of each profile: ``(1, 8, 32)`` gives 1, 2 to 8, and 9 to 32.

    Kernels are tuned for the largest batch of a range, so that a batch padded up to it is not slower.

    >>> profile_ranges((1, 8, 32))
    [(1, 1, 1), (2, 8, 8), (9, 32, 32)]
    """
    sizes = sorted(set(batches))
    return [(low + 1, high, high) for low, high in zip([0, *sizes], sizes, strict=False)]


def configure(
    capabilities: Capabilities, builder: Trt, info: EngineInfo, options: BuildOptions, *, bound: bool, quantized: bool
) -> Trt:
    """Create a builder configuration, without profiles and timing cache.

    Args:
        capabilities: the installed TensorRT.
        builder: its builder.
        info: the engine's description.
        options: the build options.
        bound: whether layers were bound to a type.
        quantized: whether any layer is int8. An int8 engine may exclude all layers from int8; with the INT8 flag
            TensorRT 8 would then look for scales.
    """
    trt = capabilities.trt
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.avg_timing_iterations = TIMINGS
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    flags = trt.BuilderFlag
    if info.precision == "tf32":
        config.set_flag(flags.TF32)
    else:
        config.clear_flag(flags.TF32)
    if not capabilities.strongly_typed:
        if info.precision in ("fp16", "int8"):
            config.set_flag(flags.FP16)
        if quantized:
            config.set_flag(flags.INT8)
        if bound:
            # Next to int8 TensorRT 8.6 finds no kernel for some strict constraints.
            config.set_flag(flags.PREFER_PRECISION_CONSTRAINTS if quantized else flags.OBEY_PRECISION_CONSTRAINTS)
    if hasattr(trt.TacticSource, "CUDNN"):  # on by default until TensorRT 9; speeds up no layer here
        sources = (trt.TacticSource.EDGE_MASK_CONVOLUTIONS, trt.TacticSource.JIT_CONVOLUTIONS)
        config.set_tactic_sources(sum(1 << int(source) for source in sources))
    sharing = getattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if sharing is not None:  # several contexts per profile; always on since TensorRT 10
        config.set_preview_feature(sharing, True)
    if options.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.compute_capabilities:
        _set_capabilities(capabilities, config, options.compute_capabilities)
    return config


def _set_capabilities(capabilities: Capabilities, config: Trt, names: Sequence[str]) -> None:
    known = getattr(capabilities.trt, "ComputeCapability", None)
    if known is None:
        raise TargetError(f"{capabilities.version}: it builds for this GPU only. Use tensorrt-rtx to build for others.")
    config.num_compute_capabilities = len(names)
    for i, name in enumerate(names):
        if not hasattr(known, name.upper()):
            raise TargetError(f"{capabilities.version}: unknown compute capability {name}; expected one like sm89")
        config.set_compute_capability(getattr(known, name.upper()), i)


def open_timing_cache(config: Trt, path: Path | None) -> Trt:
    """Set the timing cache that a build reads and extends, from a file if it is readable; None without a path."""
    if path is None:
        return None
    cache = config.create_timing_cache(_read_timings(path))
    # TensorRT refuses a cache of another GPU or version; start with an empty one.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _read_timings(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""  # kernels are timed again


def _save_timing_cache(config: Trt, path: Path) -> None:
    """Write the build's timings, merged with timings that other builds wrote since it began."""
    timings = bytes(config.get_timing_cache().serialize())
    others = config.create_timing_cache(_read_timings(path))
    if others is not None:
        merged = config.create_timing_cache(timings)
        merged.combine(others, False)  # ignores timings of another GPU or version
        timings = bytes(merged.serialize())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_bytes(timings)
    except (OSError, OutputError) as error:  # the engine is built
        logger.warning("%s: the timing cache cannot be written (%s); the next build times kernels again", path, error)


def _watch(trt: Trt, config: Trt, progress: Callable[[str, int, int], None] | None) -> Trt:
    """Report the outermost phase's name, steps done and total steps to ``progress``, if TensorRT supports it."""
    if progress is None or not hasattr(trt, "IProgressMonitor"):
        return None
    report = progress

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self.steps[name] = steps
                report(name, 0, steps)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.steps:
                report(name, step + 1, self.steps[name])
            return True

        def phase_finish(self, name: str) -> None:
            if name in self.steps:
                report(name, self.steps[name], self.steps[name])

    config.progress_monitor = Monitor()
    return config.progress_monitor


def find_description(plan: bytes) -> str | None:
    """Find a plan's description without TensorRT; None if the plan has none."""
    start = plan.find(f'{MARK}{{"format"'.encode())
    if start < 0:
        return None
    text = plan[start + len(MARK) : start + len(MARK) + MAX_DESCRIPTION].decode("utf-8", "ignore")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end]
