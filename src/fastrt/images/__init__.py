"""Images: find, decode, resize, draw."""
