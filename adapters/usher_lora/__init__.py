"""LoRA adapters: what they learned, what their files hold, who may use them, and how they come into being.

Only `dataset`, `train` and `evaluate` may import a training library; everything else is decided without one.
"""
