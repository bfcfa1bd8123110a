"""What everyone may use: errors, findings, registries, randomness, files."""
