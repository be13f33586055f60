"""An evaluation as a page that opens without a network: figures, curves, and whom the engine took for whom."""

from fastrt.evaluate.report.write import write_report

__all__ = ["write_report"]
