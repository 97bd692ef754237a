"""The loss Hessian and related quantities: traces, eigenvalues, per-example gradients."""
