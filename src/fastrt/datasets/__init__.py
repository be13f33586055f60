"""Re-identification data sets: the published ones, synthetic ones, and any other as a table."""

from fastrt.datasets.base import DataSet, LabelledImage
from fastrt.datasets.people import CUHK03NP, MSMT17, DukeMTMC, Market1501
from fastrt.datasets.table import read_data_set
from fastrt.datasets.vehicles import VehicleID, VeRi, VERIWild

__all__ = [
    "CUHK03NP",
    "MSMT17",
    "DataSet",
    "DukeMTMC",
    "LabelledImage",
    "Market1501",
    "VERIWild",
    "VeRi",
    "VehicleID",
    "read_data_set",
]
