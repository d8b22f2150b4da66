"""Load, fault and hostile-input checks of a real `repsr-serve` on loopback: what `scripts/serve_check` runs."""
