"""The Hessian of the loss and its relatives: traces, eigenvalues, gradients of examples."""
