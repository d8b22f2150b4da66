"""Before and after, for people to see: a page with a slider, both side by side, and a map of what differs."""

from repsr_deploy.compare.comparison import comparison_files, write_comparison

__all__ = ["comparison_files", "write_comparison"]
