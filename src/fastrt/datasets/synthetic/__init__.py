"""Drawn pedestrians, for machines without a data set: many people, several cameras, laid out as Market-1501.

Hard on purpose: people wear the same few colours, cameras shift them, crops are off, and things stand in the way. What
is left to tell people apart is what it is in photographs: the whole of clothes, bag, hair and build.
"""

from fastrt.datasets.synthetic.camera import Camera, make_camera
from fastrt.datasets.synthetic.figure import draw_figure
from fastrt.datasets.synthetic.look import Look, choose_look
from fastrt.datasets.synthetic.write import Synthetic, draw_crop, write_synthetic

__all__ = ["Camera", "Look", "Synthetic", "choose_look", "draw_crop", "draw_figure", "make_camera", "write_synthetic"]
