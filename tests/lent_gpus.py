"""A stand-in for the package `spaces` on ZeroGPU, which enforces its rules, as those of 0.51 are:

- a function under GPU runs in a process that is forked from this one, in a thread of it, and may serve a later call;
- what it takes and gives goes through pickle, and an exception comes back as a gr.Error with the name of its class;
- this process must not have touched CUDA, though torch says that there is some;
- a call takes its duration from the quota, and is refused by a gr.Error where too little of that is left;
- a function that takes longer than its duration is ended, and its caller gets a gr.Error.
"""

import functools
import inspect
import multiprocessing
import pickle
import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType

import gradio as gr
import torch

FORK = multiprocessing.get_context("fork")
END = b"end"
is_forked = False


@dataclass
class ZeroGpu(ModuleType):
    """The module. `quota` is what is left of it in seconds, `asked` the durations that were asked for.

    `refuse` is raised by the next call instead; `hurry` is by how much its time runs faster than it should.
    """

    quota: float = 1e9
    hurry: float = 1.0
    refuse: gr.Error | None = None
    asked: list[float] = field(default_factory=list)
    functions: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__("spaces")

    def GPU(self, task=None, *, duration=60):
        if task is None:
            return functools.partial(self.GPU, duration=duration)
        self.functions.append(task)
        if inspect.isgeneratorfunction(task):

            @functools.wraps(task)
            def wrapper(*args, **kwargs):
                yield from self._call(task, duration, args, kwargs)
        else:

            @functools.wraps(task)
            def wrapper(*args, **kwargs):
                (value,) = self._call(task, duration, args, kwargs)
                return value

        return wrapper

    def gradio_auto_wrap(self, task):
        return task

    def _call(self, task, duration, args, kwargs):
        assert not torch.cuda.is_initialized(), "CUDA was touched before the fork"
        seconds = duration(*args, **kwargs) if callable(duration) else duration
        if refusal := self.refuse:
            self.refuse = None
            raise refusal
        if seconds > self.quota:
            text = f"You have exceeded your free ZeroGPU quota ({seconds}s requested vs. {self.quota:.0f}s left). "
            raise gr.Error(text + "Try again in 3:12:05. ", title="ZeroGPU quota exceeded", print_exception=False)
        self.asked.append(seconds)
        self.quota -= seconds
        results = FORK.Queue()
        process = FORK.Process(target=_work, args=(task, pickle.dumps((args, kwargs)), results), daemon=True)
        process.start()
        try:
            while (result := results.get(timeout=seconds / self.hurry)) != END:
                is_error, value = pickle.loads(result)
                if is_error:
                    raise gr.Error(value, title="ZeroGPU worker error", print_exception=False)
                yield value
        except queue.Empty:
            raise gr.Error("GPU task aborted", title="ZeroGPU worker error", print_exception=False) from None
        finally:
            process.kill()
            process.join()


def _work(task, pickled, results):
    global is_forked
    is_forked = True

    def run():
        args, kwargs = pickle.loads(pickled)
        try:
            found = task(*args, **kwargs)
            for one in found if inspect.isgenerator(found) else (found,):
                results.put(pickle.dumps((False, one)))
        except Exception as error:
            results.put(pickle.dumps((True, type(error).__name__)))
        results.put(END)

    with ThreadPoolExecutor(1) as executor:
        executor.submit(run).result()
