"""What the range coder knows of a token before it is read."""
