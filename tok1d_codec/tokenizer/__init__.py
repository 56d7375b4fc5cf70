"""Images <-> token indices: one interface, several families."""
