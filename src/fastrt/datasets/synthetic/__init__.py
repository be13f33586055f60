"""A synthetic data set of drawn pedestrians, with several cameras and Market-1501's layout.

It is difficult on purpose: people wear the same few colours, cameras change them, crops are inaccurate, and there are
occlusions. People differ, as in photographs, in the combination of clothes, bag, hair and build.
"""

from fastrt.datasets.people import Synthetic
from fastrt.datasets.synthetic.camera import Camera, make_camera
from fastrt.datasets.synthetic.figure import draw_figure
from fastrt.datasets.synthetic.look import Look, choose_look
from fastrt.datasets.synthetic.write import draw_crop, write_synthetic

__all__ = ["Camera", "Look", "Synthetic", "choose_look", "draw_crop", "draw_figure", "make_camera", "write_synthetic"]
