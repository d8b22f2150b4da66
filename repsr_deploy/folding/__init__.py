"""Folding: pure algebra (`algebra`), our networks (`fold`), the comparison of before and after (`proof`)."""
