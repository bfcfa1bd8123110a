"""Datasets: sources, splits, checks, the store and the batches."""
