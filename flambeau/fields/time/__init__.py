"""How times are read, and tables of observations as regular series."""
