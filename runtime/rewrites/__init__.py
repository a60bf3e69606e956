"""Rewrites of a plan's copy of the graph, one pass a file."""
