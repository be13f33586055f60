"""``python -m fuzz``: the kinds in turn, each in processes that are started again after a crash."""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FOUND = Path(__file__).parent / "found"
MEMORY = Path("/dev/shm")  # a file system in memory: every input is written and read
ROUNDS = 2
"""Times that each kind has its turn, so that an interrupted run has read some of all."""


def main() -> int:
    """Fuzz; exits with 1 if an input failed."""
    parser = argparse.ArgumentParser(description="Read damaged and hostile files of every kind.")
    parser.add_argument("--minutes", type=float, default=10, help="of the whole run (default 10)")
    parser.add_argument("--kinds", nargs="*", help="default: all")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        from fuzz.worker import work

        name, folder, found, seed, end = given.worker
        work(name, Path(folder), Path(found), int(seed), float(end))
        return 0
    return run(given.minutes, given.kinds, given.seed)


def run(minutes: float, kinds: list[str] | None, seed: int | None) -> int:
    """Run all kinds for ``minutes`` together, and print the number of inputs of each."""
    from fuzz.kinds import KINDS

    chosen = kinds or list(KINDS)
    rng = random.Random(seed if seed is not None else (seed := time.time_ns() % 10**9))
    print(f"seed {seed}, {minutes:g} minutes, {', '.join(chosen)}", flush=True)
    counts: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    before = _list_found()
    for _ in range(ROUNDS):
        for name in chosen:
            begin = time.monotonic()
            end = begin + 60 * minutes / len(chosen) / ROUNDS
            while time.monotonic() < end:
                counts[name] += _start(name, KINDS[name].suffix, rng.randrange(10**9), end)
            seconds[name] += round(time.monotonic() - begin)
    new = sorted(_list_found() - before)
    for name in chosen:
        print(f"{name:20} {counts[name]:9} inputs {seconds[name]:6} s")
    print(f"{'all':20} {counts.total():9} inputs {seconds.total():6} s, {len(new)} failures")
    for path in new:
        print(f"  {path}")
    return 1 if new else 0


def _list_found() -> set[Path]:
    return {path for path in FOUND.rglob("*") if path.is_file() and path.suffix != ".traceback"}


def _start(name: str, suffix: str, seed: int, end: float) -> int:
    """Run one worker until ``end`` or a crash; keep the input of the crash. Returns the number of inputs."""
    with tempfile.TemporaryDirectory(prefix="fastrt-fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as text:
        folder = Path(text)
        count = folder / "count"
        count.write_bytes(bytes(8))
        words = [name, str(folder), str(FOUND), str(seed), str(end)]
        child = subprocess.run([sys.executable, "-m", "fuzz", "--worker", *words], capture_output=True, check=False)
        done = int.from_bytes(count.read_bytes(), "little")
        if child.returncode < 0:
            reason = signal.Signals(-child.returncode).name
            kept = FOUND / name / f"{reason}-{seed}{suffix}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes((folder / f"input{suffix}").read_bytes())
        elif child.returncode:
            print(child.stderr.decode(errors="replace")[-2000:], file=sys.stderr, flush=True)
            raise SystemExit(f"{name}: the worker itself failed")
        return done


if __name__ == "__main__":
    sys.exit(main())
