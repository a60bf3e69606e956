"""Where some TF1 programs import from; use the names in :mod:`dagrad` itself."""
