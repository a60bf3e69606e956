"""Operation definitions and the builders that add them to a graph."""
