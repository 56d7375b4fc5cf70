"""Picture files <-> pixels: formats, colours, and files that appear whole or not at all."""
