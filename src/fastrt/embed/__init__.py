"""Embeddings of image files: which files, read ahead while the engine runs, written with their names as they come."""

from fastrt.embed.find import SUFFIXES, Found, find_images
from fastrt.embed.store import Store, save_embeddings
from fastrt.embed.stream import Embedded, Piece, embed_files, stream_embeddings

__all__ = [
    "SUFFIXES",
    "Embedded",
    "Found",
    "Piece",
    "Store",
    "embed_files",
    "find_images",
    "save_embeddings",
    "stream_embeddings",
]
