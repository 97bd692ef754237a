"""Networks and measures that change their process, and one that would show it."""

import ctypes
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import ThreadpoolController
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode

END = threading.Event()  # Of threads that were left running.
ENTERED = []  # Contexts that were never left.
CHILDREN = []  # Processes that were left running.


class DropsSigns(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return found.abs() if function is F.linear else found


def default_dtype():
    torch.set_default_dtype(torch.float64)


def default_device():
    torch.set_default_device("meta")


def threads():
    torch.set_num_threads(torch.get_num_threads() + 1)


def flush_denormal():
    torch.set_flush_denormal(True)


def deterministic():
    torch.use_deterministic_algorithms(True)


def warn_only():
    torch.use_deterministic_algorithms(True, warn_only=True)


def random_numbers():
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)


def gradient_mode():
    torch.set_grad_enabled(False)


def inference_mode():
    if not torch.is_inference_mode_enabled():
        ENTERED.append(torch.inference_mode())
        ENTERED[-1].__enter__()


def autocast():
    torch.set_autocast_enabled("cpu", True)


def matmul_precision():
    torch.set_float32_matmul_precision("medium")


def onednn_precision():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


def onednn():
    torch.backends.mkldnn.enabled = False


def attention():
    torch.backends.cuda.enable_math_sdp(False)


def cudnn():
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False


def anomalies():
    torch.autograd.set_detect_anomaly(True)


def saved_tensors():
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is None:
        torch.autograd.graph.saved_tensors_hooks(torch.neg, torch.clone).__enter__()


def module_hook():
    register_module_forward_hook(lambda module, inputs, output: output * 2)


def optimizer_hook():
    register_optimizer_step_post_hook(lambda *_: None)


def conversion():
    torch.__future__.set_overwrite_module_params_on_conversion(True)


def function_mode():
    if not torch._C._len_torch_function_stack():
        DropsSigns().__enter__()


def warnings_are_shown():
    warnings.simplefilter("always")


def environment():
    os.environ["OMP_NUM_THREADS"] = "3"
    os.environ["NEIGHBOUR"] = "here"


def working_folder():
    os.chdir("/")


def import_path():
    sys.path.insert(0, "/neighbour")


def signal_handler():
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def numpy_errors():
    np.seterr(all="raise")


def numpy_printing():
    np.set_printoptions(precision=2)


def torch_printing():
    torch.set_printoptions(precision=2)


def recursion():
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)


def cores():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def patched_functional():
    F.relu = F.leaky_relu


def patched_layer():
    nn.Linear.forward = lambda self, x: F.linear(x, -self.weight, self.bias)


def patched_method_of_a_base():
    torch.Tensor.flatten = lambda self, *_: torch.zeros(len(self), self[0].numel())


def patched_optimizer():
    torch.optim.SGD.step = lambda self, closure=None: closure()


def patched_numpy():
    np.random.uniform = lambda *_, **__: 0.0


def compiler():
    import_module("torch._dynamo.config").suppress_errors = True
    import_module("torch._inductor.config").fallback_random = True


def umask():
    os.umask(0o077)


def rounding():
    upward = {"x86_64": 0x800, "aarch64": 0x400000}[platform.machine()]
    ctypes.CDLL(None).fesetround(upward)


def blas_threads():
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(1 + library.num_threads % 2)


def child_process():
    if not CHILDREN:
        CHILDREN.append(subprocess.Popen(["sleep", "3600"]))


def thread():
    if not any(one.name == "left running" for one in threading.enumerate()):
        threading.Thread(target=END.wait, name="left running", daemon=True).start()


# What user code may do to its process.
RESET = (
    *(default_dtype, default_device, threads, flush_denormal, deterministic, warn_only),
    *(random_numbers, gradient_mode, autocast, matmul_precision, onednn_precision, onednn),
    *(attention, cudnn, anomalies, saved_tensors, module_hook, optimizer_hook, conversion),
    *(warnings_are_shown, environment, working_folder, import_path, signal_handler),
    *(numpy_errors, numpy_printing, torch_printing, recursion, cores),
    *(function_mode, compiler, umask, blas_threads),
)
PUT_BACK = (
    *(patched_functional, patched_layer, patched_method_of_a_base, patched_optimizer),
    *(patched_numpy, rounding),
)
LASTS = (thread, child_process, inference_mode)
IMPORTS = (deterministic, warn_only, compiler)
"""Torch imports the compiler for these, and what changes during an import lasts."""
HARMLESS = {
    *(warnings_are_shown, environment, working_folder, import_path, signal_handler),
    *(numpy_errors, numpy_printing, torch_printing, recursion, cores, random_numbers, thread),
    *(umask, child_process),
}


def leave():
    """Undo what lasts, for the tests' own process."""
    END.set()
    for one in threading.enumerate():
        if one.name == "left running":
            one.join()
    END.clear()
    while CHILDREN:
        CHILDREN[-1].kill()
        CHILDREN.pop().wait()
    while ENTERED:
        ENTERED.pop().__exit__(None, None, None)
        torch.set_grad_enabled(True)  # Inference mode may have been entered without gradients.


def note(log, label):
    if log:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {label}\n")


class Bad(nn.Module):
    """A network that changes its process whenever it is called."""

    def __init__(self, input_shape, classes, change, log="", label=""):
        super().__init__()
        note(log, label)
        self.change = change
        self.linear = nn.Linear(int(torch.tensor(input_shape).prod()), classes)

    def forward(self, x):
        logits = self.linear(x.flatten(1))
        globals()[self.change]()
        return logits


class Good(nn.Module):
    """A network that depends on much of what others could have changed."""

    def __init__(self, input_shape, classes, width=4, log="", label=""):
        super().__init__()
        note(log, label)
        self.first = nn.Linear(int(torch.tensor(input_shape).prod()), width)
        self.last = nn.Linear(width, classes)
        self.scale = 1 + np.random.uniform() + random.random()
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        hidden = F.relu(self.first(x.flatten(1)))
        if self.training:
            hidden = hidden + torch.rand(1) + np.random.uniform() + random.random()
        shift = torch.tensor([0.1]) * torch.tensor([1e-42]) * 1e38
        return self.last(self.dropout(hidden * self.scale)) + shift.to(x.dtype)
