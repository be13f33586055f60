"""The demonstration, with a model that was trained on synthetic people, and its model card."""
