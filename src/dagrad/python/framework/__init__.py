"""The part of TF1's internal ``framework`` that programs import."""
