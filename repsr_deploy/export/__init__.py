"""Export of folded networks to model files."""
