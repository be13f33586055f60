"""Embeds image files: finds them, decodes ahead while the engine runs, and writes the embeddings as they come."""

from fastrt.extraction.store import Store, save_embeddings
from fastrt.extraction.stream import Embedded, embed_files, stream_embeddings
from fastrt.images.find import Found, find_images

__all__ = ["Embedded", "Found", "Store", "embed_files", "find_images", "save_embeddings", "stream_embeddings"]
