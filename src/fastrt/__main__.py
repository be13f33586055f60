"""``python -m fastrt``."""

from fastrt.cli import main

if __name__ == "__main__":
    main()
