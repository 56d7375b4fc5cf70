"""Training: presets, losses, one loop, run folders, export."""
