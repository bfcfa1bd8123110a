"""How texts are read, cut into tokens and varied."""
