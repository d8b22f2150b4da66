"""Animated PNG, WebP and GIF: every frame enlarged, with its time."""

from __future__ import annotations

from repsr_deploy.imaging.animation.read import is_animated
from repsr_deploy.imaging.animation.upscale import AnimationOutcome, upscale_animation

__all__ = ["AnimationOutcome", "is_animated", "upscale_animation"]
