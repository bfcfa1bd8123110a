"""Losses, metrics and decoding of targets that have a place in a picture: one file each."""
