"""Understanding a model: what its answers hang on."""
