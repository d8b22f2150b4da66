"""Studies: what the papers claim, trained at an equal budget and measured with several seeds."""
