"""Requests that no honest client sends: every one must get a clear refusal, and leave nothing behind."""
