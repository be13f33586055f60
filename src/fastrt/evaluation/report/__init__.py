"""An evaluation as a page that opens without a network: figures, curves, and whom the engine took for whom."""

from fastrt.evaluation.report.write import check_libraries, check_report, write_report

__all__ = ["check_libraries", "check_report", "write_report"]
