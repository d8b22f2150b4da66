"""A whole network, RepSR-MxC16 folded at x2 or x4, in one kernel on tensor cores: `docs/design/fused_network.md`."""
