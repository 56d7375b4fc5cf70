"""The models that files name: cards, weight files."""
