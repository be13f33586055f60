"""Ranks the images of a folder by their similarity to one image, from a checkpoint.

    python who_is_this.py model_best.pth config.yml person.jpg people/

The engine is built once, beside the checkpoint, and verified before it is used.
"""

import sys
from pathlib import Path

import fastrt
from fastrt.extraction import embed_files, find_images


def main(checkpoint: str, config: str, person: str, people: str) -> None:
    engine = Path(checkpoint).with_suffix(".xml")
    network = fastrt.load_model(checkpoint, config).network()
    if not engine.exists():
        fastrt.build(network, engine)
    with fastrt.load(engine) as session:
        report = fastrt.verify(session, network)
        if not report:
            sys.exit(str(report))
        query = session([fastrt.read_image(person)])
        gallery = embed_files(session, find_images([people]).images)
    similarities = (gallery.embeddings @ query.T).ravel()
    for i in similarities.argsort()[::-1]:
        print(f"{similarities[i]:.3f}  {gallery.paths[i]}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print("usage: who_is_this.py CHECKPOINT CONFIG PERSON PEOPLE", file=sys.stderr)
        sys.exit(2)
    try:
        main(*sys.argv[1:])
    except fastrt.FastrtError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
