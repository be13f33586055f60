"""How the demonstration's model is trained; needs PyTorch, and is no part of the package."""
