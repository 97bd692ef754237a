"""What marks tests for machines with a GPU: elsewhere they are skipped."""

import pytest
import torch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
