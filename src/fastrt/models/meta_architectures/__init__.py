"""Meta-architectures: backbone and heads combined; standardised pixels to an embedding ``(D, 1, 1)``."""
