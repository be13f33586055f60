"""HTML report of an evaluation: scores, curves and rank lists. It loads nothing from the network."""

from fastrt.evaluation.report.write import check_libraries, check_report, report_written, write_report

__all__ = ["check_libraries", "check_report", "report_written", "write_report"]
