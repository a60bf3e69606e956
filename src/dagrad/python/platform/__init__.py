"""The part of TF1's internal ``platform`` that programs import."""

from __future__ import annotations

from ... import app, flags, gfile
from ... import logging as tf_logging

__all__ = ["app", "flags", "gfile", "tf_logging"]
