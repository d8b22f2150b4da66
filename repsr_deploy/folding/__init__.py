"""Folding: pure algebra (`algebra`), our own networks (`fold`), and the report that compares before and after (`proof`)."""
