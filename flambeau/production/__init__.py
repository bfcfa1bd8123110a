"""What happens to a model behind its training: its predictions, kept in a log, and what became of the data since.

`log` keeps predictions, `tables` is where; `statistics` is what the data was in the training, `drift` tells what has
changed; `watching` puts both into one result, and `collecting` makes a dataset of logged rows.
"""
