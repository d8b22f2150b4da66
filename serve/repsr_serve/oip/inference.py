"""A request's work: every picture for itself, or one batch; both through the service like everything else."""

from __future__ import annotations

import asyncio

from repsr_serve.buffers import CHUNK_BYTES, Buffer
from repsr_serve.oip.answer import Answer, answer_array, answer_files
from repsr_serve.oip.request import InferRequest
from repsr_serve.pictures import Order, Result
from repsr_serve.problems import Problem
from repsr_serve.service import Service

AT_ONCE = 8
"""Pictures of one request under way at a time, so that their tiles share batches."""


async def answered(service: Service, model: str, request: InferRequest) -> Answer:
    """What a model makes of a request.

    Raises:
        Problem: see `Service.upscale` and `Service.infer`; `too-many-pixels` also for all pictures together.
    """
    if not isinstance(request.values, list):
        return answer_array(request, model, await service.infer(model, request.values))
    order = Order(model=model, factor=request.scale, format=request.format, quality=request.quality)
    results = await _Pictures(service, order).enlarge(request.values)
    return answer_files(request, model, [result.encoded for result in results])


class _Pictures:
    """The pictures of one request: all of them, or none."""

    def __init__(self, service: Service, order: Order) -> None:
        self._service, self._order = service, order
        self._places = asyncio.Semaphore(AT_ONCE)
        self._pixels = 0

    async def enlarge(self, files: list[memoryview]) -> list[Result]:
        tasks: list[asyncio.Task[Result]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(self._one(file, index)) for index, file in enumerate(files)]
        except BaseException as failure:
            for task in tasks:
                if not task.cancelled() and task.exception() is None:
                    task.result().encoded.close()
            tasks.clear()  # else a failure's traceback would keep itself, and what its frames hold
            if isinstance(failure, BaseExceptionGroup):
                raise failure.exceptions[0] from None
            raise
        return [task.result() for task in tasks]

    async def _one(self, file: memoryview, index: int) -> Result:
        limit = self._service.settings.max_pixels
        async with self._places:
            with await asyncio.to_thread(_buffer, file) as encoded:
                try:
                    result = await self._service.upscale(encoded, self._order, max_pixels=limit, patient=True)
                except Problem as problem:
                    raise Problem(
                        problem.cause, problem.detail, problem.retry_after_s, problem.extra | {"index": index}
                    ) from problem
        width, height = result.source_size
        self._pixels += width * height
        if self._pixels > limit:
            result.encoded.close()
            raise Problem(
                "too-many-pixels",
                f"The pictures have more than {limit} pixels together; send some of them in another request.",
                extra={"max_pixels": limit},
            )
        return result


def _buffer(file: memoryview) -> Buffer:
    buffer = Buffer()
    try:
        for at in range(0, len(file), CHUNK_BYTES):
            buffer.write(bytes(file[at : at + CHUNK_BYTES]))
    except BaseException:
        buffer.close()
        raise
    return buffer
