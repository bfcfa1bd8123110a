"""The Store: a Dataset encoded once, and kept."""
