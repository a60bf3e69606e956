"""Pictures of graphs, plans and run reports."""
