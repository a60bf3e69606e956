"""Graphs of TensorFlow 1, from its ``GraphDef``: read, checked, and made anew.

``reading`` is the way in; ``table`` names the op types that can be imported and what
builds each.
"""
