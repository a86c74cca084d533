"""nanoBragg PyTorch: presets, plan items, the demo."""
