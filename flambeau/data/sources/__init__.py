"""Sources: whatever holds labelled data, as Datasets."""
