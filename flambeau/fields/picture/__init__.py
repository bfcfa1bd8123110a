"""How pictures are decoded, and in which colours."""
