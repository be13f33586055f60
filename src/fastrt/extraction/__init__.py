"""Embeds image files to disk: finds them, and writes the embeddings as they come, so that a job can resume."""

from fastrt.engine.stream import Embedded, embed_files, stream_embeddings
from fastrt.extraction.outputs import save_embeddings
from fastrt.extraction.store import Store
from fastrt.images.find import Found, find_images

__all__ = ["Embedded", "Found", "Store", "embed_files", "find_images", "save_embeddings", "stream_embeddings"]
