"""What a trained network does inside: the analysis tools of Reflash Dropout (Kong et al., arXiv 2112.12089)."""
