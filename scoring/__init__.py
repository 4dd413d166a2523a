"""Splits, top-K, metrics and the composite: from bare arrays to scores."""
