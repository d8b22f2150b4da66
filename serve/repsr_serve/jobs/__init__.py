"""Pictures that are enlarged later: a queue on disk that survives the service."""

from repsr_serve.jobs.job import Job, State
from repsr_serve.jobs.service import JobService, View

__all__ = ["Job", "JobService", "State", "View"]
