"""Metrics: arrays in, named numbers out; whatever can stream does, with sums in int64 or float64."""
